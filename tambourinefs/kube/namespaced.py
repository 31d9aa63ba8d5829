"""One kind in some namespaces, as if it were watched once: a watch is of one namespace or of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from tambourinefs.kube.api import Api, Object
from tambourinefs.kube.reflector import Reflector
from tambourinefs.kube.resources import Resource
from tambourinefs.model.names import NamespacedName

T = TypeVar("T")


class Namespaced(Generic[T]):
    """A reflector for each namespace. They are run one by one, and each may fail by itself."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        namespaces: Sequence[str],
        *,
        project: Callable[[Object], T | None],
        bell: Callable[[], None],
        patience: float,
    ) -> None:
        """`namespaces`: none of them means all. The rest is the Reflector's."""
        self._parts = {
            namespace: Reflector(
                api, resource, project=project, bell=bell, namespace=namespace, patience=patience
            )
            for namespace in namespaces or ("",)
        }

    @property
    def reflectors(self) -> list[Reflector[T]]:
        return list(self._parts.values())

    @property
    def items(self) -> dict[NamespacedName, T]:
        """A snapshot."""
        if (all_of_them := self._parts.get("")) is not None:
            return all_of_them.items
        return {key: item for part in self._parts.values() for key, item in part.items.items()}

    def learn(self, item: Object) -> None:
        """As a Reflector does. Of a namespace that is not watched nothing is kept."""
        part = self._parts.get("") or self._parts.get(item["metadata"]["namespace"])
        if part is not None:
            part.learn(item)
