"""Every kind of task has its words and its answers, and the words take the values that the code gives."""

import ast
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import clinicrefund
from clinicrefund import Choice
from clinicrefund.case import tasks
from clinicrefund.case.events import TaskKind
from clinicrefund.case.tasks import CHOICES, PRIVATE, public_text, task_text

BY_QUESTION = {
    TaskKind.WHICH_BOOKING: {"found", "trigger"},
    TaskKind.IS_IT_A_CANCELLATION: {"channel", "words"},
    TaskKind.UNREADABLE: {"source", "why"},
    TaskKind.OUTSIDE_REFUND: {"amount", "gateway", "reference"},
}
"""What questions without a case are asked with: they are given as a mapping, in deliveries.py and reports.py."""


def _fields(kind: TaskKind) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(tasks._TEXTS[kind]) if name}


def _named(tree: ast.AST, call: ast.Call) -> set[str]:
    """What ``**named`` stands for in a call: the nearest ``named = {...}`` above it."""
    above = [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and ast.unparse(node.targets[0]) == "named"
        and node.lineno < call.lineno
    ]
    _, nearest = max(above, key=lambda one: one[0])
    return {str(ast.literal_eval(key)) for key in nearest.keys if key is not None}


def _given() -> Iterator[tuple[TaskKind, set[str], str]]:
    """Each place of the code that raises a task by its kind, with the names of the values that it gives."""
    source = Path(clinicrefund.__file__).parent
    for path in sorted(source.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            raised = ast.unparse(node.func).rpartition(".")[2]
            kinds = [
                arg.attr
                for arg in node.args
                if isinstance(arg, ast.Attribute) and ast.unparse(arg.value) == "TaskKind"
            ]
            if len(kinds) != 1 or not (raised == "raise_task" or (raised == "_ask" and node.keywords)):
                continue
            names = {word.arg for word in node.keywords if word.arg not in (None, "step")}
            if any(word.arg is None for word in node.keywords):
                names |= _named(tree, node)
            yield TaskKind[kinds[0]], {name for name in names if name}, f"{path.name}:{node.lineno}"


GIVEN = list(_given())


@pytest.mark.parametrize(("kind", "names", "place"), GIVEN, ids=[place for _, _, place in GIVEN])
def test_a_text_finds_every_value_it_names_wherever_it_is_raised(
    kind: TaskKind, names: set[str], place: str
) -> None:
    assert _fields(kind) <= names, place
    assert task_text(kind, dict.fromkeys(names, "x"))


def test_every_kind_is_raised_somewhere() -> None:
    assert {kind for kind, _, _ in GIVEN} | set(BY_QUESTION) == set(TaskKind)


@pytest.mark.parametrize("kind", list(BY_QUESTION))
def test_a_question_finds_its_values(kind: TaskKind) -> None:
    assert _fields(kind) - set(tasks._UNSAID) <= BY_QUESTION[kind]


@pytest.mark.parametrize("kind", list(TaskKind))
def test_every_kind_has_words_and_at_least_two_answers_without_doubles(kind: TaskKind) -> None:
    assert tasks._TEXTS[kind].strip()
    assert len(CHOICES[kind]) >= 2
    assert len(set(CHOICES[kind])) == len(CHOICES[kind])
    assert not {Choice.APPROVE, Choice.DENY} & set(CHOICES[kind])


def test_no_answer_about_money_in_doubt_lets_it_be_skipped() -> None:
    for kind in (TaskKind.OUTCOME_UNKNOWN, TaskKind.BYTES_CHANGED):
        assert Choice.SKIP not in CHOICES[kind]


@pytest.mark.parametrize("kind", list(TaskKind))
def test_what_stands_in_braces_in_a_value_is_no_place_for_another_value(kind: TaskKind) -> None:
    names = _fields(kind)
    assert task_text(kind, dict.fromkeys(names, "{why} {0} {key.__class__}")).count("{why}") >= len(names)


def test_only_a_text_that_quotes_a_patient_is_private_and_its_public_form_does_not() -> None:
    assert {kind for kind in TaskKind if "words" in _fields(kind)} == PRIVATE
    values = {"channel": "sms", "words": "my knee"}
    assert "my knee" in task_text(TaskKind.IS_IT_A_CANCELLATION, values)
    assert "my knee" not in public_text(TaskKind.IS_IT_A_CANCELLATION, values)
    assert public_text(TaskKind.BY_HAND, {"what": "Do it."}) == "Do it."
