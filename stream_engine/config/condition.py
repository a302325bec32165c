"""A condition on a reading's fields, such as `quality == 'good' and count > 0`, compiled without `eval`.

I know nothing of messages: fields come as columns. A field that is absent, null, NaN or of another type
than the literal makes its comparison unknown; `and`, `or` and `not` follow the logic of SQL, and a
condition whose outcome is unknown counts as false.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Bools: TypeAlias = NDArray[np.bool_]
Column: TypeAlias = NDArray[Any]
Literal: TypeAlias = str | bool | int | float

WANTED = "compare a field with a literal (quality == 'good', count > 0), joined by and, or, not and parentheses"
MAX_LENGTH = 2_000
MAX_INT = 10**300

_OPERATORS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_TRUTH_WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Three-valued truth, elementwise: never both true and false; neither means unknown."""

    true: Bools
    false: Bools


_Node: TypeAlias = Callable[[Mapping[str, Column]], _Outcome]


class Condition:
    """A compiled condition; a value: equal if its text is.

    Attributes:
        text: as written.
        fields: names of the fields it reads, in order of first use.
    """

    __slots__ = ("_node", "fields", "text")

    def __init__(self, text: str) -> None:
        """Compile text.

        Raises:
            ValueError: with what was wanted, if it is not such a condition.
        """
        if len(text) > MAX_LENGTH:
            raise ValueError(f"is longer than {MAX_LENGTH} characters; write a shorter condition")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"is not a condition; {WANTED}") from error
        fields: dict[str, None] = {}
        node = _compile(tree.body, fields)
        self.text = text.strip()
        self.fields = tuple(fields)
        self._node = node

    def evaluate(self, columns: Mapping[str, Column]) -> Bools:
        """Where the condition is true.

        Args:
            columns: arrays of one shape, one for each field that is known: numbers, bools, text, or
                objects (None is absent). A field without a column is absent everywhere.
        Returns:
            bool array of the columns' shape.
        """
        return self._node(columns).true

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let a field of the configuration be written as text, and print as text."""
        return core_schema.no_info_plain_validator_function(
            cls._from_config, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _from_config(cls, value: object) -> "Condition":
        if isinstance(value, Condition):
            return value
        if not isinstance(value, str):
            raise ValueError(f"must be text; {WANTED}")
        return cls(value)


def _compile(node: ast.expr, fields: dict[str, None]) -> _Node:
    if isinstance(node, ast.BoolOp):
        return _joined([_compile(part, fields) for part in node.values], is_and=isinstance(node.op, ast.And))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _negated(_compile(node.operand, fields))
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        pairs = zip(sides[:-1], node.ops, sides[1:], strict=True)
        return _joined([_comparison(left, op, right, fields) for left, op, right in pairs], is_and=True)
    raise ValueError(f"holds '{ast.unparse(node)}', which is no comparison; {WANTED}")


def _joined(parts: list[_Node], is_and: bool) -> _Node:
    if len(parts) == 1:
        return parts[0]

    def evaluate(columns: Mapping[str, Column]) -> _Outcome:
        outcomes = [part(columns) for part in parts]
        true, false = [outcome.true for outcome in outcomes], [outcome.false for outcome in outcomes]
        if is_and:
            return _Outcome(np.logical_and.reduce(true), np.logical_or.reduce(false))
        return _Outcome(np.logical_or.reduce(true), np.logical_and.reduce(false))

    return evaluate


def _negated(part: _Node) -> _Node:
    def evaluate(columns: Mapping[str, Column]) -> _Outcome:
        outcome = part(columns)
        return _Outcome(outcome.false, outcome.true)

    return evaluate


def _comparison(left: ast.expr, op: ast.cmpop, right: ast.expr, fields: dict[str, None]) -> _Node:
    kind = type(op)
    if _field(left) is None and _field(right) is not None:
        left, right, kind = right, left, _MIRRORED.get(kind, kind)
    name, literal = _field(left), _literal(right)
    if name is None or literal is None or kind not in _OPERATORS:
        raise ValueError(f"holds '{ast.unparse(ast.Compare(left, [op], [right]))}'; {WANTED}")
    sign, compare = _OPERATORS[kind]
    if isinstance(literal, bool) and sign not in ("==", "!="):
        raise ValueError(f"compares '{name}' by '{sign}' with {literal}; true and false know only == and !=")
    fields.setdefault(name)

    def evaluate(columns: Mapping[str, Column]) -> _Outcome:
        column = columns.get(name)
        if column is None:
            shape = np.broadcast_shapes(*(np.shape(other) for other in columns.values()))
            return _Outcome(np.zeros(shape, bool), np.zeros(shape, bool))
        operand, is_known = _operand(column, literal)
        with np.errstate(invalid="ignore"):
            holds = np.asarray(compare(operand, literal), dtype=bool)
        return _Outcome(holds & is_known, ~holds & is_known)

    return evaluate


def _field(node: ast.expr) -> str | None:
    """The name of a field, or None if node is something else."""
    return node.id if isinstance(node, ast.Name) and node.id.lower() not in _TRUTH_WORDS else None


def _literal(node: ast.expr) -> Literal | None:
    """The value of a literal, or None if node is something else."""
    if isinstance(node, ast.Name):
        return _TRUTH_WORDS.get(node.id.lower())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _literal(node.operand)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bool | int | float):
        if isinstance(node.value, int) and abs(node.value) > MAX_INT:
            raise ValueError(f"holds a whole number beyond {MAX_INT:.0e}, which no field can be compared with")
        return node.value
    return None


def _operand(column: Column, literal: Literal) -> tuple[Column, Bools]:
    """The column in the literal's own type, and where it has that type."""
    if isinstance(literal, str):
        return _texts(column)
    if isinstance(literal, bool):
        return _truths(column)
    numbers = _numbers(column)
    return numbers, ~np.isnan(numbers)


def _numbers(column: Column) -> Column:
    """The column as float64 of the same shape, NaN where it holds no number."""
    if column.dtype.kind in "iuf":
        return column.astype(np.float64, copy=False)
    if column.dtype.kind != "O":
        return np.full(column.shape, np.nan)
    flat = column.ravel().tolist()
    if set(map(type, flat)) <= {float, type(None)}:
        return np.array(flat, dtype=np.float64).reshape(column.shape)
    return np.array([_number(value) for value in flat], dtype=np.float64).reshape(column.shape)


def _number(value: object) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.nan


def _texts(column: Column) -> tuple[Column, Bools]:
    if column.dtype.kind in "UT":
        return column, np.ones(column.shape, bool)
    if column.dtype.kind != "O":
        return np.full(column.shape, "", dtype=object), np.zeros(column.shape, bool)
    flat = column.ravel().tolist()
    is_known = np.array([isinstance(value, str) for value in flat], dtype=bool).reshape(column.shape)
    return np.where(is_known, column, ""), is_known


def _truths(column: Column) -> tuple[Column, Bools]:
    if column.dtype.kind == "b":
        return column, np.ones(column.shape, bool)
    if column.dtype.kind != "O":
        return np.zeros(column.shape, bool), np.zeros(column.shape, bool)
    flat = column.ravel()
    is_known = np.array([isinstance(value, bool | np.bool_) for value in flat], dtype=bool).reshape(column.shape)
    return np.array([value is True or value is np.True_ for value in flat], dtype=bool).reshape(column.shape), is_known
