"""From an object over everything that it refers to, as far as it is nnU-Net's: what is there, in words of the table.

A key is "module:qualified.name": where something is looked for. What is found there has a fingerprint:

    3f2a91c04d7e        a function: the digest of its source
    class               a class, of that module and name
    -> module:name      a function or class that is at home elsewhere, which is looked at as well
    = repr              a plain constant
    < package name      a function, class or module of another package, or an object of one of its classes
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any

from .roots import FOLLOWED, PACKAGES
from .source import UnknownSourceError, describe, place

__all__ = ["Found", "Walk", "home", "resolve"]

_OURS = __name__.split(".")[0]
# What makes an object, shows it or copies it: attributes are read off the object, however they came there.
_MAKING = {"__init__", "__new__"}
_NOT_REPLACED = {
    *("__init_subclass__", "__class_getitem__", "__repr__", "__str__", "__del__"),
    *("__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__copy__", "__deepcopy__"),
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__abstractmethods__"),
    *("__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
    *("__slots__", "__orig_bases__", "__parameters__", "_abc_impl"),
}
_PLAIN = (int, float, complex, str, bytes, bool, type(None))


@dataclass(frozen=True)
class Found:
    """What is at a key."""

    key: str
    shown: str  # the key as a user looks for it
    fingerprint: str
    where: str  # what to say of it, should it not be known
    overrides: bool = False  # a method of a base class that the table may know
    asked: bool = False  # for by name, and not come across


def home(value: Any) -> str:
    """The "module:qualified.name" that a function or class says it has."""
    return f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', None)}"


def resolve(cls: type, name: str) -> tuple[type, Any] | None:
    """The class in the method resolution order that has the attribute, and the attribute as it stands there."""
    for owner in cls.__mro__:
        if name in vars(owner):
            return owner, vars(owner)[name]
    return None


def _package(value: Any) -> str:
    """The package that a value comes from; "std" for Python's own."""
    if isinstance(value, ModuleType):
        module = value.__name__
    elif isinstance(value, FunctionType):
        module = value.__globals__.get("__name__")  # functools.wraps copies __module__ from what it wraps
    else:
        module = (value if hasattr(value, "__qualname__") else type(value)).__module__
    top = str(module).split(".")[0]
    return "std" if top in sys.stdlib_module_names else top


def _external(value: Any) -> str:
    name = getattr(value, "__name__", None) or type(value).__name__
    # Where Python's own functions are at home depends on the system (posixpath, ntpath).
    return f"< {_package(value)} {'' if _package(value) == 'std' and isinstance(value, ModuleType) else name}".rstrip()


def _in_scope(value: Any) -> bool:
    return _package(value) in PACKAGES


def _is_followed(key: str) -> bool:
    return any(key == entry or (entry.endswith("*") and key.startswith(entry[:-1])) for entry in FOLLOWED)


def _unwrapped(value: Any) -> Any:
    """The function in a static method, class method or property; what this package put in its place is looked through."""
    while True:
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        elif isinstance(value, FunctionType) and _is_ours(value) and hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        else:
            return value


def _methods(cls: type) -> set[str]:
    """The names that nnU-Net's classes among a class and its bases have."""
    return {name for owner in cls.__mro__ if _in_scope(owner) for name in vars(owner)}


def _is_ours(value: Any) -> bool:
    return _package(value) == _OURS


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(_is_plain(part) for part in value)
    if isinstance(value, dict):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    return isinstance(value, _PLAIN)


def _repr(value: Any) -> str:
    return f"{type(value).__name__}({sorted(map(repr, value))})" if isinstance(value, (set, frozenset)) else repr(value)


class Walk:
    """Calls `visit` with whatever is found, each key once."""

    def __init__(self, visit: Callable[[Found], None]) -> None:
        self._visit = visit
        self._seen: set[tuple[str, int]] = set()

    def root(self, root: Any, names: Iterable[str]) -> None:
        """Begins at a module's names, at a class's or an object's methods (all, where none is named), or at a function."""
        names = list(names)
        if isinstance(root, ModuleType):
            for name in names:
                self._global(vars(root), name, asked=True)
        elif isinstance(root, type):
            self._class(root, names)
        elif isinstance(root, FunctionType):
            self._slot(home(root), _short(root), root, asked=True)
        elif isinstance(root, MethodType):
            # The function that it has, which need not be the one that its class has by now.
            used = self._slot(home(root.__func__), _short(root.__func__), root.__func__, asked=True)
            owner = root.__self__ if isinstance(root.__self__, type) else type(root.__self__)
            if methods := [name for name in used if name in _methods(owner)]:
                self._object(root.__self__, methods)
        else:
            self._object(root, names)

    def _object(self, instance: Any, names: list[str]) -> None:
        cls = type(instance)
        walked = self._class(cls, names)
        own = getattr(instance, "__dict__", {})
        for name in walked & own.keys():
            value = own[name]
            function = _unwrapped(value.__func__ if isinstance(value, MethodType) else value)
            found = resolve(cls, name)
            if found is not None and function is _unwrapped(found[1]) and getattr(value, "__self__", None) is instance:
                continue  # the method that it would have anyway
            if isinstance(value, FunctionType) and _is_ours(value):
                continue
            shown = f"{cls.__name__}.{name}"
            self._visit(Found(f"{home(cls)}.{name}", shown, "", f"replaced on this object, {_where(value)}", asked=True))
        if cls.__getattribute__ is not object.__getattribute__:
            self._class(cls, ["__getattribute__"])

    def _class(self, cls: type, names: Iterable[str] = (), left: set[str] = _NOT_REPLACED | _MAKING) -> set[str]:
        """Looks at methods, all but those that are left out, and returns the names of all that were."""
        names = list(names)
        everything = _methods(cls) - left
        if not names:
            self._visit(Found(home(cls), cls.__name__, "class", f"of {cls.__module__}", asked=True))
        waiting, done = list(names or sorted(everything)), set()
        while waiting:
            name = waiting.pop()
            found = resolve(cls, name)
            if name in done or found is None:
                continue
            done.add(name)
            owner, value = found
            if not _in_scope(owner) and owner.__module__ == "builtins" and name not in names:
                continue
            key = f"{home(owner)}.{name}"
            overrides = any(name in vars(base) for base in cls.__mro__[cls.__mro__.index(owner) + 1 :] if _in_scope(base))
            asked = name in names or (not _in_scope(owner) and name in everything)
            used = self._slot(key, f"{owner.__name__}.{name}", value, asked=asked, overrides=overrides)
            waiting += [attribute for attribute in used if attribute in everything]
        return done

    def _global(self, space: dict[str, Any], name: str, asked: bool = True) -> None:
        if name in space:
            module = str(space.get("__name__"))
            self._slot(f"{module}:{name}", f"{module}.{name}", space[name], asked=asked)

    def _slot(self, key: str, shown: str, value: Any, *, asked: bool = False, overrides: bool = False) -> tuple[str, ...]:
        """Looks at what is at a key and behind it, and returns the names of attributes that it uses."""
        if _is_followed(key):
            return ()
        value = _unwrapped(value)
        if (key, id(value)) in self._seen:
            return describe(value).attributes if isinstance(value, FunctionType) and _readable(value) else ()
        self._seen.add((key, id(value)))

        def visit(fingerprint: str, where: str = "") -> None:
            self._visit(Found(key, shown, fingerprint, where or _where(value), overrides, asked))

        if isinstance(value, (FunctionType, type)) and _is_ours(value):
            return ()  # put there by this package
        if isinstance(value, FunctionType):
            return self._function(key, shown, value, visit)
        if isinstance(value, type) and _in_scope(value):
            visit("class" if home(value) == key else f"-> {home(value)}")
            self._class(value, left=_NOT_REPLACED)  # the code that names a class makes its objects
        elif isinstance(value, ModuleType) and _in_scope(value):
            visit(f"-> {value.__name__}")
        elif _is_plain(value):
            visit(f"= {_repr(value)}", f"which is {_repr(value)[:60]}")
        elif not _is_ours(value):
            visit(_external(value))
        return ()

    def _function(self, key: str, shown: str, function: FunctionType, visit: Callable[..., None]) -> tuple[str, ...]:
        wrapped, layers = function, 0
        while hasattr(wrapped, "__wrapped__") and isinstance(wrapped.__wrapped__, FunctionType):
            if _package(wrapped) not in ("std", "torch"):
                visit("", f"wrapped in {place(wrapped)}")
                return ()
            wrapped, layers = wrapped.__wrapped__, layers + 1
        if not _in_scope(wrapped):
            visit(_external(wrapped), _where(wrapped))
            return ()
        if home(wrapped) != key:
            visit(f"-> {home(wrapped)}")
            return self._slot(home(wrapped), shown, function, asked=True)
        try:
            found = describe(wrapped)
        except UnknownSourceError as error:
            visit("", f"{error} ({place(wrapped)})")
            return ()
        visit(found.digest + "+" * layers, f"which is not as in the tested versions ({place(wrapped)})")
        space = wrapped.__globals__
        for name in found.globals:
            self._global(space, name)
            if isinstance(space.get(name), ModuleType) and _in_scope(space[name]):
                for attribute in found.attributes:
                    self._global(vars(space[name]), attribute)
        for module, name in found.imports:
            if module.split(".")[0] in PACKAGES and module in sys.modules:
                self._global(vars(sys.modules[module]), name)
        return found.attributes


def _short(function: FunctionType) -> str:
    qualname = function.__qualname__
    return qualname if "." in qualname else f"{function.__module__}.{qualname}"


def _readable(function: FunctionType) -> bool:
    try:
        describe(function)
    except UnknownSourceError:
        return False
    return True


def _where(value: Any) -> str:
    if isinstance(value, MethodType):
        value = value.__func__
    if isinstance(value, FunctionType):
        return f"defined in {place(value)}"
    if isinstance(value, type):
        return f"which is {value.__module__}.{value.__qualname__}"
    if isinstance(value, ModuleType):
        return f"which is the module {value.__name__}"
    return f"which is a {type(value).__module__}.{type(value).__qualname__}"

