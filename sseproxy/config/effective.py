"""What holds for a route, once it has inherited what it does not say itself?"""

from typing import TypeVar

from sseproxy.config.problems import Path
from sseproxy.config.schema import FileSchema, InheritedSection, RouteSection
from sseproxy.config.sections import Section
from sseproxy.core.frozen import frozen

Kind = TypeVar("Kind", bound=Section)


@frozen
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
        """True if the route has the key itself."""
        return _says(self.section, keys)

    def inherits(self, *keys: str) -> bool:
        """True if ``defaults`` has the key."""
        return _says(self.defaults, keys)

    def where(self, *keys: str) -> Path:
        """The path of an inherited key: where it is written, else in the innermost section around it that is.

        Of two sections that are equally far in, the route's; where there is none at all, in the route.
        """
        # From the inside: the more of the key is written somewhere, the nearer to it is that place.
        for depth in range(len(keys), 0, -1):
            if self.says(*keys[:depth]):
                return self.own(*keys)
            if self.inherits(*keys[:depth]):
                return ("defaults", *keys)
        return self.own(*keys)


def effective_routes(file: FileSchema) -> tuple[EffectiveRoute, ...]:
    """The routes of a file in their order."""
    names = route_names(file.routes)
    routes = []
    for index, route in enumerate(file.routes):
        # A route has more keys than are inherited; `merged` wants two sections of one kind.
        own = InheritedSection.model_construct(
            _fields_set=route.model_fields_set & InheritedSection.model_fields.keys(),
            **{name: getattr(route, name) for name in InheritedSection.model_fields},
        )
        routes.append(EffectiveRoute(index, route, file.defaults, merged(file.defaults, own), names[index]))
    return tuple(routes)


def merged(base: Kind, over: Kind) -> Kind:
    """`base`, with every key in its place that `over` says, at any depth."""
    # Not `model_copy`: it would not merge sections inside of sections, and `model_fields_set` has to stay true, since
    # `where` finds by it in which of the two a key stands.
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


def route_names(routes: tuple[RouteSection, ...]) -> list[str]:
    """The names of the routes. One without a name gets its number, and a tail if another route has that name."""
    taken = {route.name for route in routes}
    names = []
    for number, route in enumerate(routes, 1):
        name = route.name or f"route-{number}"
        while route.name is None and name in taken:
            name += f"-{number}"
        names.append(name)
    return names
