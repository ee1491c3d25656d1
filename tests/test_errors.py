"""The exception tree: every class found by inspection, so that a new one cannot go untested."""

import builtins
import copy
import inspect
import pickle
import re

import pytest

from dvsprep import errors
from dvsprep.errors import DvsprepError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, DvsprepError)]
# design.md, house rule 4; 1 is the root's own, which nothing raises.
EXIT_CODES = {
    "DvsprepError": 1,
    "UsageError": 2,
    "NotFoundError": 3,
    "FetchError": 4,
    "IntegrityError": 5,
    "DiskError": 6,
    "IncompleteError": 7,
    "BackendError": 8,
    "DivergedError": 9,
}


def tree_of_docstring() -> dict[str, tuple[str, str | None, int | None]]:
    """Return name -> (parent, builtin, exit code) as the module's docstring draws them."""
    tree, parents = {}, {0: "DvsprepError"}
    for line in errors.__doc__.splitlines():
        found = re.match(r"([│├└─ ]+)(\w+)(?:\s+\((\w+)\))?(?:\s+(\d)\b)?", line)
        if found and found[1].strip():
            depth = len(found[1]) // 4
            parents[depth] = found[2]
            tree[found[2]] = (parents[depth - 1], found[3], int(found[4]) if found[4] else None)
    return tree


def test_docstring_draws_every_class_with_its_parent():
    drawn = {name: parent for name, (parent, _, _) in tree_of_docstring().items()}
    assert drawn == {c.__name__: c.__bases__[0].__name__ for c in CLASSES if c is not DvsprepError}


def test_docstring_tells_the_builtin_and_the_exit_code():
    for name, (_, builtin, code) in tree_of_docstring().items():
        cls = getattr(errors, name)
        if builtin:
            assert cls.__bases__[1] is getattr(builtins, builtin)
        if code:
            assert cls.exit_code == code
        assert (builtin is None) == (code is None), "a branch has both, a leaf neither"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_exit_code_is_the_one_of_its_branch(cls):
    branch = next(c.__name__ for c in cls.__mro__ if c.__name__ in EXIT_CODES)
    assert cls.exit_code == EXIT_CODES[branch]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("hint", [None, "do that"])
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_error_survives_a_process_pool(cls, hint, again):
    error = cls("r.aedat: byte 7 is wrong", hint=hint, details=["one", "two"])
    other = again(error)
    assert type(other) is cls
    assert (other.message, other.hint, other.args) == (error.message, hint, error.args)
    line = "r.aedat: byte 7 is wrong" + (" (do that)" if hint else "")
    assert str(other) == str(error) == f"{line}\n  one\n  two"
    assert str(cls("x", hint=hint)).count("\n") == 0


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_error_is_caught_by_the_builtin_that_users_know(cls):
    known = [c for c in cls.__mro__ if c.__module__ == "builtins" and c not in (Exception, BaseException, object)]
    assert known or cls is DvsprepError
    for builtin in known:
        with pytest.raises(builtin, match="what happened"):
            raise cls("what happened")
