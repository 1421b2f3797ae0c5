"""How is the request released that an error has ended?

The traceback of an error holds the frames that the error has passed, and a frame holds its variables. If one of them
leads back to the error (a task that has failed, a future, an attribute), the circle stays until the garbage collector
comes, with the request, its connections and their buffers.
"""


def release_frames(error: BaseException) -> None:
    """Take the tracebacks from an error that has been dealt with, and from the errors that it came from."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        left += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
