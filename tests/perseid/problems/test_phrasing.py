"""Questions by template: in a sandbox, of the row's columns alone."""

import pytest

from perseid.problems.phrasing import PhrasingError, columns_of, rendered


def test_a_template_names_its_columns() -> None:
    assert columns_of("{{ a }} {% for x in b %}{{ x.c }}{{ loop.index }}{% endfor %}") == {"a", "b"}


def test_a_template_is_filled_with_a_row() -> None:
    assert rendered("{{ a }}) {{ b | join(', ') }}\n", {"a": 1, "b": ["x", "y"]}) == "1) x, y\n"


@pytest.mark.parametrize(
    "template",
    [
        "{{ a.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ b.append(1) }}",
        "{% include 'x' %}",
        "{{ missing }}",
        "{{ 1 / 0 }}",
        "{{ range(10**9) | list }}",
        "{{ 'x' * 10**7 }}",
        "{{ lipsum() }}",
    ],
)
def test_what_a_template_may_not_is_an_error(template: str) -> None:
    with pytest.raises(PhrasingError):
        rendered(template, {"a": "1", "b": []})


@pytest.mark.parametrize("template", ["{{ a", "{% if %}", "{{ a | nofilter }}", "{{ b | random }}", "{{ " + "(" * 5000])
def test_what_is_no_template_is_an_error(template: str) -> None:
    with pytest.raises(PhrasingError, match="expected a Jinja template: "):
        columns_of(template)
