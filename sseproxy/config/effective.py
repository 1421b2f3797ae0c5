"""What holds for a route, once it has inherited what it does not say itself?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from sseproxy.config.fields import Section
from sseproxy.config.problems import Path
from sseproxy.config.schema import FileSchema, InheritedSection, RouteSection

Kind = TypeVar("Kind", bound=Section)


@dataclass(frozen=True, slots=True)
class EffectiveRoute:
    """A route with all that it inherits. section: what it says itself. defaults: what all routes inherit."""

    index: int
    section: RouteSection
    defaults: InheritedSection
    merged: InheritedSection
    name: str

    def own(self, *keys: str) -> Path:
        """The path of one of its keys, whether it is there or not."""
        return ("routes", self.index, *keys)

    def says(self, *keys: str) -> bool:
        """Whether the route has the key itself."""
        return _says(self.section, keys)

    def inherits(self, *keys: str) -> bool:
        """Whether ``defaults`` has the key."""
        return _says(self.defaults, keys)

    def where(self, *keys: str) -> Path:
        """The path of an inherited key: where it is written, else in the innermost section around it that is.

        Of two sections that are equally far in, the route's; where there is none at all, in the route.
        """
        for depth in range(len(keys), 0, -1):
            if self.says(*keys[:depth]):
                return self.own(*keys)
            if self.inherits(*keys[:depth]):
                return ("defaults", *keys)
        return self.own(*keys)


def effective_routes(file: FileSchema) -> tuple[EffectiveRoute, ...]:
    """The routes of a file in their order."""
    names = _names(file.routes)
    return tuple(
        EffectiveRoute(index, route, file.defaults, _inherited(file.defaults, route), next(names))
        for index, route in enumerate(file.routes)
    )


def _inherited(defaults: InheritedSection, route: RouteSection) -> InheritedSection:
    own = InheritedSection.model_construct(
        _fields_set=route.model_fields_set & InheritedSection.model_fields.keys(),
        **{name: getattr(route, name) for name in InheritedSection.model_fields},
    )
    return merged(defaults, own)


def merged(base: Kind, over: Kind) -> Kind:
    """`base`, with every key in its place that `over` says, at any depth."""
    values = {}
    for name in type(base).model_fields:
        under, own = getattr(base, name), getattr(over, name)
        if isinstance(under, Section) and isinstance(own, Section):
            values[name] = merged(under, own) if name in over.model_fields_set else under
        else:
            values[name] = own if name in over.model_fields_set else under
    return type(base).model_construct(_fields_set=base.model_fields_set | over.model_fields_set, **values)


def _says(section: Section, keys: tuple[str, ...]) -> bool:
    found: object = section
    for key in keys:
        if not isinstance(found, Section) or key not in found.model_fields_set:
            return False
        found = getattr(found, key)
    return True


def _names(routes: tuple[RouteSection, ...]) -> Iterator[str]:
    """The names of the routes; one that has none gets its number, and a tail if somebody else has that name."""
    taken = {route.name for route in routes}
    for number, route in enumerate(routes, 1):
        name = route.name or f"route-{number}"
        while route.name is None and name in taken:
            name += f"-{number}"
        yield name
