"""Runs a plan: features once, tasks on all processors or a Dask cluster, each result written as it comes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from serq_mcu.base.parallel import processors
from serq_mcu.base.progress import Progress
from serq_mcu.corpus.loaders import Corpus, load_corpus
from serq_mcu.errors import SerqError
from serq_mcu.experiments.features import compute, corpus_digest
from serq_mcu.experiments.plan import Plan, Task, tasks
from serq_mcu.experiments.results import Row, read_results, write_results
from serq_mcu.experiments.task import CorpusData, run_task

_QUIET = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}  # a task has one processor


def run_plan(
    plan: Plan,
    folders: Sequence[Path],
    results: Path,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Run what the results file lacks and return all rows of it; a stopped run resumes where it was.

    folders: the corpora, recognised by their names; a plan's other corpora are left out. jobs: processes
    (None: one a processor). scheduler: the address of a Dask scheduler to send tasks to instead. Raises
    SerqError if a corpus cannot be used, none is the plan's, or the cluster cannot be reached.
    """
    corpora = {corpus.name: corpus for corpus in map(load_corpus, folders)}
    if not set(plan.corpora) & set(corpora):
        raise SerqError(f"the plan is about {', '.join(plan.corpora)}, of which no folder was given")
    contents = {name: corpus_digest(corpus.clips) for name, corpus in corpora.items() if name in plan.corpora}
    speakers = {name: len({clip.speaker for clip in corpora[name].clips}) for name in contents}
    rows = read_results(results)
    known = {row.task for row in rows}
    todo = [task for task in tasks(plan, contents, speakers) if task.key not in known]
    data = _data(plan, todo, corpora, contents, progress)
    if not todo:
        return rows
    with _executor(min(jobs or processors(), len(todo)), scheduler) as executor:
        with _unheard_interrupts():
            waiting = {
                executor.submit(run_task, task, [data[name, task.features] for name in _corpora(task)])
                for task in todo
            }
        for done, future in enumerate(as_completed(waiting), start=1):
            rows += future.result()
            write_results(results, rows)
            if progress is not None:
                progress("training and judging networks", done, len(todo))
    return rows


def _corpora(task: Task) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*task.train, *task.test)))


def _data(
    plan: Plan,
    todo: Sequence[Task],
    corpora: dict[str, Corpus],
    contents: dict[str, str],
    progress: Progress | None,
) -> dict[tuple[str, str], CorpusData]:
    """Compute each corpus with each kind of features that a task needs."""
    data = {}
    for name, features in dict.fromkeys((name, task.features) for task in todo for name in _corpora(task)):
        corpus = corpora[name]
        values = compute(plan.features(features), corpus.clips, contents[name], progress)
        truth = np.array([corpus.labels.index(clip.label) for clip in corpus.clips], dtype=np.int64)
        data[name, features] = CorpusData(
            name,
            corpus.labels,
            values,
            truth,
            tuple(clip.speaker for clip in corpus.clips),
            corpus.folder.absolute(),
        )
    return data


@contextlib.contextmanager
def _executor(jobs: int, scheduler: str | None) -> Iterator[Executor]:
    """Start processes of this machine, or a Dask cluster."""
    if scheduler is None:
        with _environment(_QUIET), ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            try:
                yield pool
            except BaseException:
                for process in multiprocessing.active_children():  # what is unfinished is run again
                    process.terminate()
                raise
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise SerqError(
            f"a cluster needs packages that are not installed ({error.name}); run `pip install"
            " 'serq-mcu[cluster]'`"
        ) from error
    try:
        client: Any = Client(
            scheduler,  # type: ignore[no-untyped-call]
            timeout="5s",
            set_as_default=False,
        )
    except (OSError, ValueError) as error:
        raise SerqError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    with client, client.get_executor(pure=False) as cluster:
        try:
            yield cluster
        except BaseException:
            cluster.shutdown(wait=False)
            raise


@contextlib.contextmanager
def _unheard_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from processes that start in this block: this one receives it, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set the environment variables that child processes start with."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
