"""What all processes of a run settle among themselves: answers, errors, and who is ready."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from orbitds.train.launch import Launch

T = TypeVar("T")


class Together:
    """The processes of a run; each method is called by all of them, in the same order.

    Parameters
    ----------
    launch
        Who this process is.
    group
        All processes, with gloo for host memory; None where there is one.
    """

    def __init__(self, launch: Launch, group: dist.ProcessGroup | None) -> None:
        self.launch = launch
        self._group = group
        self._question: tuple[dist.Work | None, torch.Tensor] | None = None

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank; for small ones."""
        if self._group is None:
            return [value]
        values: list[Any] = [None] * self.launch.world
        dist.all_gather_object(values, value, group=self._group)
        return values

    def everywhere(self, function: Callable[..., T], *arguments: Any) -> list[T]:  # noqa: ANN401  the function's own
        """Call a function in all; return the answers by rank, or raise the first error in all."""
        return [_unless_error(answer) for answer in self.gather(attempt(function, *arguments))]

    def by_main(self, function: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401  the function's own
        """Call a function in the first process; return its answer, or raise its error, in all."""
        answer: Any = attempt(function, *arguments) if self.launch.is_main else None
        if self._group is not None:
            box = [answer]
            dist.broadcast_object_list(box, src=0, group=self._group)
            answer = box[0]
        return _unless_error(answer)

    def share_out(self, value: T, function: Callable[[list[T]], Sequence[T]]) -> T:
        """Gather values in the first process, and give each process its own of the answers."""
        if self._group is None:
            return function([value])[0]
        is_main = self.launch.is_main
        values: list[Any] | None = [None] * self.launch.world if is_main else None
        dist.gather_object(value, values, dst=0, group=self._group)
        answers: Any = None
        if values is not None:
            answers = attempt(function, values)
            if isinstance(answers, Exception):
                answers = [answers] * self.launch.world
        box: list[Any] = [None]
        dist.scatter_object_list(box, answers, src=0, group=self._group)
        return _unless_error(box[0])

    def ask(self, *, ready: bool) -> None:
        """Start to find out whether all processes are ready; does not wait for them."""
        flag = torch.tensor(int(ready))
        work = None
        if self._group is not None:
            work = dist.all_reduce(flag, dist.ReduceOp.MIN, group=self._group, async_op=True)
        self._question = work, flag

    def answer(self) -> bool | None:
        """Return whether all were ready when they were last asked; None if they were not asked."""
        if self._question is None:
            return None
        work, flag = self._question
        self._question = None
        if work is not None:
            work.wait()
        return bool(flag)


def attempt(function: Callable[..., T], *arguments: Any) -> T | Exception:  # noqa: ANN401  the function's own
    """Return what a function answers, or the error that it raises."""
    try:
        return function(*arguments)
    except Exception as error:  # told to all processes, which raise it
        return error


def _unless_error(answer: T | Exception) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer
