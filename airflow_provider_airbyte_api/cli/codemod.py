"""Rewriting of a Python file that uses apache-airflow-providers-airbyte. It needs LibCST (extra ``migrate``).

:func:`to_drop_in` changes imports only. :func:`to_native` also renames classes, parameters, methods and results. What
the code alone does not decide is left as it is, with a :class:`Note`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import libcst as cst
from libcst import ParserSyntaxError
from libcst.helpers import get_full_name_for_node
from libcst.metadata import MetadataWrapper, PositionProvider, QualifiedNameProvider

__all__ = ["Migration", "Note", "ParserSyntaxError", "to_drop_in", "to_native"]

OFFICIAL = "airflow.providers.airbyte"
OURS = "airflow_provider_airbyte_api"
OPERATOR = f"{OFFICIAL}.operators.airbyte.AirbyteTriggerSyncOperator"
SENSOR = f"{OFFICIAL}.sensors.airbyte.AirbyteJobSensor"
HOOK = f"{OFFICIAL}.hooks.airbyte.AirbyteHook"
NATIVE_NAMES = {OPERATOR: "AirbyteSyncOperator", SENSOR: "AirbyteJobSensor", HOOK: "AirbyteHook"}
"""The classes that have an equivalent, and its name."""

MODULES = frozenset(name.rpartition(".")[0] for name in NATIVE_NAMES)
PACKAGES = frozenset(name.rpartition(".")[0] for name in MODULES)

HOOK_METHODS = {"submit_sync_connection": "start_sync", "get_job_details": "get_job"}
"""Methods of the hook that are only renamed."""

NO_EQUIVALENT = {
    "airbyte_api": "use the list_… methods of AirbyteHook, or its method request(), instead of the SDK.",
    "create_api_session": "use AirbyteHook.request().",
    "get_conn_params": "use Airflow's own connection object.",
    "AirbyteSyncTrigger": "use triggers.airbyte.AirbyteJobTrigger(job_id=…, airbyte_conn_id=…, poll_interval=…, "
    "deadline=…); deadline takes the value of end_time, in seconds since the epoch.",
}
"""What has no equivalent of the same use, and what to do."""

DEFAULTS = {
    OPERATOR: {"airbyte_conn_id": '"airbyte_default"', "timeout": "3600"},
    SENSOR: {"airbyte_conn_id": '"airbyte_default"'},
}
"""Defaults of the official provider that differ here and matter, as code."""

XCOM_PULL = re.compile(r"""xcom_pull\(\s*(?:task_ids\s*=\s*)?(?P<quote>["'])(?P<task_id>[\w.-]+)(?P=quote)\s*\)""")


@dataclass(frozen=True, order=True)
class Note:
    """A place that somebody has to check."""

    line: int
    text: str


@dataclass(frozen=True)
class Migration:
    """The new content of a file, and the places to check, by the line of the old one."""

    content: bytes
    notes: list[Note]


def to_drop_in(content: bytes) -> Migration:
    """Return the file on the classes of ``drop_in``.

    :raises libcst.ParserSyntaxError: if it is not a Python file.
    """
    return _run(content, _ToDropIn)


def to_native(content: bytes) -> Migration:
    """Return the file on the classes of ``operators``, ``sensors`` and ``hooks``.

    :raises libcst.ParserSyntaxError: if it is not a Python file.
    """
    return _run(content, _ToNative)


def _run(content: bytes, kind: type[_ToDropIn]) -> Migration:
    wrapper = MetadataWrapper(cst.parse_module(content))
    uses = _Uses()
    wrapper.visit(uses)
    transformer = kind(uses)
    changed = wrapper.visit(transformer)
    return Migration(changed.bytes, sorted(set(transformer.notes)))


class _Uses(cst.CSTVisitor):
    """Finds the tasks and hooks of a file before it is rewritten."""

    METADATA_DEPENDENCIES = (QualifiedNameProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()
        """Variables that hold an operator."""
        self.hooks: set[str] = set()
        """Variables and attributes that hold a hook."""
        self.task_ids: set[str] = set()
        self.dict_keys: set[str] = set()
        """Keys of all dicts, such as those of ``default_args``."""
        self.dicts: set[str] = set()
        """Variables that hold a dict which the file writes out."""

    def visit_Assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            self._bind(target.target, node.value)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target, node.value)

    def visit_DictElement(self, node: cst.DictElement) -> None:
        if isinstance(node.key, cst.SimpleString):
            self.dict_keys.add(str(node.key.evaluated_value))

    def visit_Call(self, node: cst.Call) -> None:
        if _is_dict(node):
            self.dict_keys.update(filter(None, map(_name_of, node.args)))
        if _class_of(self, node) == OPERATOR:
            self.task_ids.update(
                str(argument.value.evaluated_value)
                for argument in _all_arguments(node)
                if _name_of(argument) == "task_id" and isinstance(argument.value, cst.SimpleString)
            )

    def _bind(self, target: cst.BaseExpression, value: cst.BaseExpression) -> None:
        name = get_full_name_for_node(target)
        if name is not None and _is_dict(value):
            self.dicts.add(name)
        if name is None or not isinstance(value, cst.Call):
            return
        made = _class_of(self, value)
        if made == OPERATOR:
            self.operators.add(name)
        elif made == HOOK:
            self.hooks.add(name)


class _ToDropIn(cst.CSTTransformer):
    """Changes the imports."""

    METADATA_DEPENDENCIES = (PositionProvider, QualifiedNameProvider)

    def __init__(self, uses: _Uses) -> None:
        super().__init__()
        self.uses = uses
        self.notes: list[Note] = []

    def note(self, node: cst.CSTNode, text: str) -> None:
        self.notes.append(Note(self.get_metadata(PositionProvider, node).start.line, text))

    # -- what differs between the two kinds --------------------------------------------------------------------

    def new_module(self, module: str) -> str:
        """Return the module that has the classes of one of :data:`MODULES`."""
        return f"{OURS}.drop_in"

    def new_name(self, qualified: str) -> str:
        """Return the name of the class in its new module."""
        return qualified.rpartition(".")[2]

    # -- imports -----------------------------------------------------------------------------------------------

    def leave_ImportFrom(self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom) -> cst.ImportFrom:
        module = "" if original_node.module is None else get_full_name_for_node(original_node.module) or ""
        if not f"{module}.".startswith(f"{OFFICIAL}.") or original_node.relative:
            return updated_node
        if isinstance(original_node.names, cst.ImportStar):
            self.note(original_node, f"import * of {module}: name what the file uses, and run this again.")
            return updated_node
        names = [str(each.evaluated_name) for each in original_node.names]
        known = MODULES if module in PACKAGES else NATIVE_NAMES
        unknown = [name for name in names if f"{module}.{name}" not in known]
        if unknown:
            hints = [NO_EQUIVALENT.get(name, "no equivalent.") for name in unknown]
            self.note(original_node, f"{', '.join(unknown)} of {module}: {' '.join(hints)} The import is unchanged.")
            return updated_node
        if module in PACKAGES:
            return self._import_of_module(original_node, updated_node, module)
        aliases = [
            each.with_changes(name=cst.Name(self.new_name(f"{module}.{name}")))
            for each, name in zip(_aliases(updated_node), names, strict=True)
        ]
        return updated_node.with_changes(module=_dotted(self.new_module(module)), names=aliases)

    def _import_of_module(self, original: cst.ImportFrom, updated: cst.ImportFrom, package: str) -> cst.ImportFrom:
        """Change ``from airflow.providers.airbyte.operators import airbyte``."""
        parent, _, name = self.new_module(f"{package}.airbyte").rpartition(".")
        (alias,) = _aliases(updated)
        as_name = alias.asname or (None if name == "airbyte" else _as_name("airbyte"))
        return updated.with_changes(
            module=_dotted(parent), names=[alias.with_changes(name=cst.Name(name), asname=as_name)]
        )

    def leave_Import(self, original_node: cst.Import, updated_node: cst.Import) -> cst.Import:
        aliases = []
        for each, original in zip(updated_node.names, original_node.names, strict=True):
            module = str(original.evaluated_name)
            if module in MODULES and original.asname is not None:
                aliases.append(each.with_changes(name=_dotted(self.new_module(module))))
                continue
            if f"{module}.".startswith(f"{OFFICIAL}."):
                self.note(original_node, f"import {module}: write it as 'from … import …', and run this again.")
            aliases.append(each)
        return updated_node.with_changes(names=aliases)

    # -- what the code does not decide -------------------------------------------------------------------------

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        for base in node.bases:
            qualified = _qualified(self, base.value) & NATIVE_NAMES.keys()
            if qualified:
                self.note(node, f"class {node.name.value} is derived from {qualified.pop()}: check what it overrides.")

    def visit_Attribute(self, node: cst.Attribute) -> None:
        hint = NO_EQUIVALENT.get(node.attr.value)
        if hint is not None and (_is_hook(self, node.value) or node.attr.value == "airbyte_api"):
            self.note(node, f"{node.attr.value} has no equivalent: {hint}")

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        if f"{OFFICIAL}." in node.value:
            self.note(node, f"a string names a module of {OFFICIAL}: change it if it is imported or patched.")


class _ToNative(_ToDropIn):
    """Changes imports, classes, parameters, methods and results."""

    def __init__(self, uses: _Uses) -> None:
        super().__init__(uses)
        self._expands: list[cst.Call] = []
        self._given: dict[cst.CSTNode, frozenset[str]] = {}
        """The parameters that ``expand`` passes, by the call of ``partial``."""

    def new_module(self, module: str) -> str:
        return module.replace(OFFICIAL, OURS)

    def new_name(self, qualified: str) -> str:
        return NATIVE_NAMES[qualified]

    # -- names -------------------------------------------------------------------------------------------------

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        if original_node.value == "AirbyteTriggerSyncOperator" and OPERATOR in _qualified(self, original_node):
            return updated_node.with_changes(value=NATIVE_NAMES[OPERATOR])
        return updated_node

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        name = original_node.attr.value
        if name == "AirbyteTriggerSyncOperator" and OPERATOR in _qualified(self, original_node):
            return updated_node.with_changes(attr=cst.Name(NATIVE_NAMES[OPERATOR]))
        if name == "output" and self._is_operator(original_node.value):
            # Airflow maps over a task's result only, so the id is taken from each result there.
            code = '.map(lambda result: result["job_id"])' if self._expands else '["job_id"]'
            output = cst.parse_expression(f"output{code}")
            return output.with_deep_changes(output.func if isinstance(output, cst.Call) else output, value=updated_node)
        return updated_node

    def leave_SimpleString(self, original_node: cst.SimpleString, updated_node: cst.SimpleString) -> cst.SimpleString:
        if "xcom_pull" not in original_node.value:
            return updated_node
        value = XCOM_PULL.sub(self._with_key, original_node.value)
        rest = XCOM_PULL.sub("", original_node.value)
        if "xcom_pull" in rest and "key" not in rest and any(each in rest for each in self.uses.task_ids):
            self.note(original_node, "xcom_pull: the result of a sync is a dict; add key='job_id' to get the job ID.")
        return updated_node.with_changes(value=value)

    def _with_key(self, match: re.Match[str]) -> str:
        if not self._is_task_id(match["task_id"]):
            return match[0]
        return f"{match[0].removesuffix(')')}, key={match['quote']}job_id{match['quote']})"

    # -- calls -------------------------------------------------------------------------------------------------

    def visit_Call(self, node: cst.Call) -> None:
        if _attribute(node.func) in {"expand", "expand_kwargs"}:
            self._expands.append(node)
            self._given[_receiver(node)] = frozenset(filter(None, map(_name_of, node.args)))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        if self._expands and self._expands[-1] is original_node:
            self._expands.pop()
        self._check_default_args(original_node)
        made = _class_of(self, original_node)
        if made == HOOK:
            return self._hook(original_node, updated_node)
        if made in DEFAULTS:
            return self._task(original_node, updated_node, made)
        method = _attribute(original_node.func)
        if method == "xcom_pull":
            return self._xcom_pull(original_node, updated_node)
        if method is not None and _is_hook(self, _receiver(original_node)):
            return self._hook_method(original_node, updated_node, method)
        if method in {*HOOK_METHODS, "submit_reset_connection", "get_job_status"}:
            self.note(original_node, f"{method}: if this is a method of AirbyteHook, see {OURS}.hooks.airbyte.")
        return updated_node

    def _check_default_args(self, call: cst.Call) -> None:
        """Note arguments of all tasks that another file holds."""
        given = _argument(call, "default_args")
        if given is None or _is_dict(given) or get_full_name_for_node(given) in self.uses.dicts:
            return
        self.note(call, "default_args is not written out here: if it sets airbyte_conn_id or timeout, tasks must not.")

    def _task(self, original: cst.Call, updated: cst.Call, made: str) -> cst.Call:
        """Rename the parameters of an operator or a sensor, and spell out the defaults that differ."""
        method = _attribute(original.func)
        given = {name for each in _all_arguments(original) if (name := _name_of(each))}
        arguments = _without(updated.args, "api_version")
        if any(each.star for each in original.args) or method == "expand_kwargs":
            self.note(original, "parameters in ** or expand_kwargs are not renamed: see docs/migrating.md.")
        elif method not in {"expand", "expand_kwargs"}:
            arguments = self._add_defaults(original, arguments, made, given | self._given.get(original, frozenset()))
        renamed: Sequence[cst.Arg] = [self._renamed(original, each, made) for each in arguments]
        if _is_true(_argument(original, "deferrable")) and "wait_seconds" in given:
            renamed = _without(renamed, "poll_interval")
            self.note(original, "wait_seconds had no effect with deferrable=True, and was removed.")
        return updated.with_changes(args=renamed)

    def _renamed(self, call: cst.Call, argument: cst.Arg, made: str) -> cst.Arg:
        name = _name_of(argument)
        if made == SENSOR:
            return argument.with_changes(keyword=cst.Name("job_id")) if name == "airbyte_job_id" else argument
        if name == "wait_seconds":
            return argument.with_changes(keyword=cst.Name("poll_interval"))
        if name == "asynchronous":
            if _attribute(call.func) == "expand":
                self.note(call, "asynchronous is mapped: write wait_for_completion with the opposite values.")
                return argument
            return argument.with_changes(keyword=cst.Name("wait_for_completion"), value=_negated(argument.value))
        return argument

    def _add_defaults(
        self, call: cst.Call, arguments: Sequence[cst.Arg], made: str, given: Iterable[str]
    ) -> Sequence[cst.Arg]:
        for name, code in DEFAULTS[made].items():
            if name in given or (name == "timeout" and _is_true(_argument(call, "asynchronous"))):
                continue
            if name in self.uses.dict_keys:
                self.note(call, f"{name} is a key of a dict: if that is not default_args, add {name}={code}.")
                continue
            arguments = _appended(call, arguments, _keyword(name, cst.parse_expression(code)))
        return arguments

    def _hook(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        arguments = _without(updated.args, "api_version")
        if _argument(original, "timeout") is not None or len([each for each in original.args if not each.keyword]) > 1:
            self.note(original, "timeout of AirbyteHook: set the extra read_timeout of the Airflow connection instead.")
            arguments = _without(arguments, "timeout")[:1]
        if not original.args or not (original.args[0].keyword is None or _argument(original, "airbyte_conn_id")):
            arguments = [*arguments, cst.Arg(cst.SimpleString('"airbyte_default"'))]
        return updated.with_changes(args=arguments)

    def _hook_method(self, original: cst.Call, updated: cst.Call, method: str) -> cst.BaseExpression:
        if method in HOOK_METHODS:
            return _renamed_method(updated, HOOK_METHODS[method])
        if method == "get_job_status":
            return cst.Attribute(_renamed_method(updated, "get_job"), cst.Name("status"))
        if method == "submit_reset_connection":
            reset = _keyword("job_type", cst.SimpleString('"reset"'))
            call = _renamed_method(updated, "start_clear")
            return call.with_changes(args=_appended(original, call.args, reset))
        if method == "wait_for_job":
            self.note(original, "wait_for_job no longer cancels the job at its timeout: call cancel_job if it should.")
            return self._wait_for_job(original, updated)
        return updated

    def _wait_for_job(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        names = ("job_id", "poll_interval", "timeout")
        arguments: Sequence[cst.Arg] = [
            each.with_changes(keyword=cst.Name(name), equal=_EQUAL) if each.keyword is None and number else each
            for number, (each, name) in enumerate(zip(updated.args, (*names, *names), strict=False))
        ]
        arguments = [
            each.with_changes(keyword=cst.Name("poll_interval")) if _name_of(each) == "wait_seconds" else each
            for each in arguments
        ]
        if "timeout" not in map(_name_of, arguments):
            arguments = _appended(original, arguments, _keyword("timeout", cst.Integer("3600")))
        return updated.with_changes(args=_appended(original, arguments, _keyword("check", cst.Name("True"))))

    def _xcom_pull(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        if not self.uses.task_ids or _argument(original, "key") is not None:
            return updated
        task_ids = _argument(original, "task_ids") or next(
            (each.value for each in original.args if each.keyword is None), None
        )
        if not isinstance(task_ids, cst.SimpleString):
            self.note(original, "xcom_pull: the result of a sync is a dict; add key='job_id' if this pulls its job ID.")
            return updated
        if not self._is_task_id(str(task_ids.evaluated_value)):
            return updated
        return updated.with_changes(
            args=_appended(original, updated.args, _keyword("key", cst.SimpleString('"job_id"')))
        )

    # -- questions ---------------------------------------------------------------------------------------------

    def _is_operator(self, node: cst.BaseExpression) -> bool:
        if isinstance(node, cst.Call):
            return _class_of(self, node) == OPERATOR
        return get_full_name_for_node(node) in self.uses.operators

    def _is_task_id(self, task_id: str) -> bool:
        return any(f".{task_id}".endswith(f".{each}") for each in self.uses.task_ids)


_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def _qualified(where: cst.MetadataDependent, node: cst.CSTNode) -> set[str]:
    return {each.name for each in where.get_metadata(QualifiedNameProvider, node, set()) or ()}


def _class_of(where: cst.MetadataDependent, node: cst.Call) -> str | None:
    """Return the official class that a call constructs, also by ``partial`` and ``expand``."""
    found = _qualified(where, node.func) & NATIVE_NAMES.keys()
    if found:
        return found.pop()
    method, receiver = _attribute(node.func), _receiver(node)
    if method == "partial":
        return next(iter(_qualified(where, receiver) & NATIVE_NAMES.keys()), None)
    if method in {"expand", "expand_kwargs"} and isinstance(receiver, cst.Call):
        return _class_of(where, receiver)
    return None


def _is_dict(node: cst.BaseExpression) -> bool:
    """Return True for a dict display, and for a call of ``dict``."""
    return isinstance(node, cst.Dict) or (isinstance(node, cst.Call) and get_full_name_for_node(node.func) == "dict")


def _is_hook(where: _ToDropIn, node: cst.CSTNode) -> bool:
    if isinstance(node, cst.Call):
        return _class_of(where, node) == HOOK
    return get_full_name_for_node(node) in where.uses.hooks


def _attribute(node: cst.CSTNode) -> str | None:
    return node.attr.value if isinstance(node, cst.Attribute) else None


def _receiver(call: cst.Call) -> cst.BaseExpression:
    return call.func.value if isinstance(call.func, cst.Attribute) else call.func


def _all_arguments(call: cst.Call) -> list[cst.Arg]:
    """Return the arguments of a call, and those of the call of ``partial`` before an ``expand``."""
    receiver = _receiver(call)
    return [*call.args, *(_all_arguments(receiver) if isinstance(receiver, cst.Call) else [])]


def _name_of(argument: cst.Arg) -> str | None:
    return None if argument.keyword is None else argument.keyword.value


def _argument(call: cst.Call, name: str) -> cst.BaseExpression | None:
    return next((each.value for each in call.args if _name_of(each) == name), None)


def _is_true(node: cst.BaseExpression | None) -> bool:
    return isinstance(node, cst.Name) and node.value == "True"


def _negated(node: cst.BaseExpression) -> cst.BaseExpression:
    if isinstance(node, cst.Name) and node.value in {"True", "False"}:
        return cst.Name("False" if node.value == "True" else "True")
    simple = isinstance(node, cst.Name | cst.Attribute | cst.Call | cst.Subscript) or bool(node.lpar)
    operand = node if simple else node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return cst.UnaryOperation(cst.Not(), operand)


def _keyword(name: str, value: cst.BaseExpression) -> cst.Arg:
    return cst.Arg(value, keyword=cst.Name(name), equal=_EQUAL)


def _without(arguments: Sequence[cst.Arg], name: str) -> Sequence[cst.Arg]:
    """Return the arguments without one of them. The last one keeps what stands before the parenthesis."""
    kept = [each for each in arguments if _name_of(each) != name]
    if kept and kept[-1] is not arguments[-1]:
        kept[-1] = kept[-1].with_changes(
            comma=arguments[-1].comma, whitespace_after_arg=arguments[-1].whitespace_after_arg
        )
    return kept


def _appended(call: cst.Call, arguments: Sequence[cst.Arg], new: cst.Arg) -> Sequence[cst.Arg]:
    """Return the arguments with one more, on a line of its own if the others are."""
    if not arguments:
        return [new]
    *before, last = arguments
    on_lines = isinstance(call.whitespace_before_args, cst.ParenthesizedWhitespace)
    space = call.whitespace_before_args if on_lines else cst.SimpleWhitespace(" ")
    return [
        *before,
        last.with_changes(comma=cst.Comma(whitespace_after=space), whitespace_after_arg=cst.SimpleWhitespace("")),
        new.with_changes(comma=last.comma, whitespace_after_arg=last.whitespace_after_arg),
    ]


def _renamed_method(call: cst.Call, name: str) -> cst.Call:
    return call.with_changes(func=call.func.with_changes(attr=cst.Name(name)))


def _aliases(node: cst.ImportFrom) -> Sequence[cst.ImportAlias]:
    return [] if isinstance(node.names, cst.ImportStar) else node.names


def _as_name(name: str) -> cst.AsName:
    return cst.AsName(cst.Name(name), cst.SimpleWhitespace(" "), cst.SimpleWhitespace(" "))


def _dotted(name: str) -> cst.Attribute | cst.Name:
    parent, _, last = name.rpartition(".")
    return cst.Attribute(_dotted(parent), cst.Name(last)) if parent else cst.Name(last)
