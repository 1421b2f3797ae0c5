"""Does an `EventSource` see the same through sseproxy, whose heartbeats go in wherever they can, as without it?"""

import pytest

from tests.e2e.browser.pages import Page
from tests.e2e.browser.stories import STORIES, Story


def test_each_story_has_a_name_of_its_own() -> None:
    assert len({story.name for story in STORIES}) == len(STORIES)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_rule(page: Page, story: Story) -> None:
    path = f"/{story.name}"
    page.stage.play(path, *story.answers)
    page.open(path)
    through = story.log if story.log_through is None else story.log_through
    assert page.over() == (through if page.way.tapped else story.log)
    asked = page.stage.requests(path)
    assert tuple(request.last_event_id for request in asked) == story.last_event_ids
    assert {(request.method, request.target) for request in asked} == {("GET", path)}
