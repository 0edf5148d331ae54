"""The front end's part of a model's C: statements, tables and sources, as data (serq_model.c.j2 writes them).

The transform of a frame is the same in every model and stands in the template. What follows it is here: mel
bands if a block reads them, then the blocks in the specification's order of computation.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from serq_mcu.base.csource import Call, CArray, CPart, Declare, Discard, ReturnUnless, Step, Trace
from serq_mcu.frontend.blocks.base import Cost, FeatureBlock
from serq_mcu.frontend.spec import FeatureSpec
from serq_mcu.frontend.statistics import STATISTICS
from serq_mcu.frontend.tables import HISTOGRAM, FrontendTables

TRANSFORM = ("serq_frame_shift", "serq_fft", "serq_spectrum", "serq_power")  # C functions of every frame
CORRELATE, POOL_ADD, KEEP = "serq_correlate", "serq_pool_add", "serq_sequence_keep"
NEEDS = "serq_needs_values"
TIERS = "SERQ_TIERS"
POOL_BYTES, HISTOGRAM_BYTES = 20, 32  # sizeof(serq_pool), sizeof(serq_histogram)


class Assertion(NamedTuple):
    """A condition that the C compiler checks, with a name that is a C identifier."""

    name: str
    condition: str


@functools.lru_cache(maxsize=8)
def frame_parts(spec: FeatureSpec, tables: FrontendTables) -> tuple[CPart, ...]:
    """Return what follows a frame's power: mel bands, level and pitch, then each block with its pooling.

    A frame that is too quiet to count ends there, and before its pitch if it does not rise either; of a
    sequence every frame counts.
    """
    parts = [_mel_part(spec, tables)] if spec.uses_mel else []
    parts.append(_level_part(spec, tables))
    if spec.uses_pitch:
        parts.append(_pitch_part(spec, tables))
    speech = "rises && voiced" if spec.uses_pitch else "rises"
    ended = () if spec.sequence_frames else (ReturnUnless(NEEDS, ("&place", 0)),)
    parts.append(CPart((Call("serq_add_speech", ("state", speech)), *ended)))
    for block in spec.order:
        own = block.code(spec, tables.of(block))
        pooling = (_keeping if spec.sequence_frames else _pooling)(spec, tables, block)
        arrays = (*own.arrays, *_percentile_arrays(block, tables))
        parts.append(CPart((*own.steps, *pooling), arrays, own.headers, own.sources))
    return tuple(parts)


def frontend_arrays(spec: FeatureSpec, tables: FrontendTables) -> tuple[CArray, ...]:
    """Return the front end's tables as the device stores them, and only those that it uses."""
    return (
        CArray("serq_window_table", tables.window),
        CArray("serq_twiddle_table", tables.twiddle),
        CArray("serq_log_table", tables.log_table),
        *(array for part in frame_parts(spec, tables) for array in part.arrays),
    )


def features_part(spec: FeatureSpec) -> CPart:
    """Return the calls that make the features: of the sums, block by block, or of the last frames."""
    return _sequence_part(spec) if spec.sequence_frames else _statistics_part(spec)


def _sequence_part(spec: FeatureSpec) -> CPart:
    """Return the calls that copy the last frames' values, and take them relative to their mean."""
    shape = spec.sequence_frames, spec.coefficients
    state = ("state->rows", "state->steps", "state->row", *shape, "state->frames", TIERS)
    steps = [Call("serq_sequence_values", (*state, "pooled"))]
    for block in spec.blocks:
        relative = block.moved_by_gain
        if relative:
            first = spec.place_in_sequence(block) + relative.start - block.sequence_range.start
            steps.append(Call("serq_sequence_relate", (*shape, first, len(relative), "pooled")))
    return CPart(tuple(steps))


def _statistics_part(spec: FeatureSpec) -> CPart:
    steps: list[Step] = []
    feature = 0
    for block in spec.blocks:
        for names in _called_at_once(block):
            of, size = STATISTICS[names[0]], block.end(names[0]) - block.first(names[0])
            if of.percent:
                percents = f"{_percent_table(block)} + {block.percentiles.index(names[0])}", len(names)
                arguments: tuple[str | int, ...]
                arguments = (_histograms(spec, block), size, TIERS, _histogram_table(block), *percents)
            else:
                pools = _pools(pool_place(spec, block) + block.first(names[0]))
                arguments = (pools, size, TIERS, _counts(spec, block))
            steps.append(Call(of.function, (*arguments, f"pooled + {feature}")))
            feature += size * len(names)
    return CPart(tuple(steps))


def _called_at_once(block: FeatureBlock) -> Iterator[tuple[str, ...]]:
    """Yield a block's statistics, and percentiles that follow on each other together."""
    for percent, group in itertools.groupby(block.statistics, lambda name: STATISTICS[name].percent > 0):
        names = tuple(group)
        yield from [names] if percent else zip(names)


def edges_part(spec: FeatureSpec) -> CPart:
    """Return the calls that add the differences between two blocks of a stream, feature block by block.

    A sequence has no sums: its frames go on from block to block.
    """
    if spec.sequence_frames:
        return CPart(())
    steps: list[Step] = [Discard("first_counts")] if not any(block.selective for block in spec.blocks) else []
    for block in spec.blocks:
        place, pair = pool_place(spec, block), "pair"
        if block.selective:
            pair = f"{block.stage}_pair"
            selected = ("&state->tiers", "pair", selection(spec, block), "first_counts")
            steps.append(Call("serq_edge_pair", selected, result=f"uint8_t {pair}"))
        arguments = (_pools(place), block.size, TIERS, f"state->last + {place}", f"first + {place}", pair)
        steps.append(Call("serq_pool_edge", arguments))
    return CPart(tuple(steps))


def frontend_assertions(spec: FeatureSpec, tables: FrontendTables) -> Iterator[Assertion]:
    """Yield that every place that a call writes to is inside its array.

    Each size is taken from the call or the table itself, never from what sized the array.
    """
    bins = "sizeof(((serq_state *)0)->scratch.frame.bins) / sizeof(serq_bin)"
    yield Assertion("bins", f"{spec.fft_length // 2 + 1} <= {bins}")
    yield Assertion("window", "sizeof serq_window_table / sizeof(int16_t) == SERQ_FRAME_LENGTH")
    if spec.uses_mel:
        read = tables.first_bin + int(tables.segment[:, 0].sum())
        yield Assertion("mel_segments", f"{read} <= {bins}")
        yield Assertion("mel_bands", "sizeof serq_mel_offset_table / sizeof(int32_t) <= SERQ_MEL_BANDS")
    if spec.uses_pitch:
        calls = _calls(*frame_parts(spec, tables))
        (arguments,) = (call.arguments for call in calls if call.function == CORRELATE)
        log2_points, furthest = arguments[7], arguments[9]
        yield Assertion("pitch_points", f"(1 << {log2_points}) <= SERQ_PITCH_POINTS")
        yield Assertion("pitch_lags", f"{furthest} <= 2 * SERQ_PITCH_POINTS")
    for block in spec.blocks:
        if block.own_stages:
            yield Assertion(f"{block.kind}_values", f"{block.size} <= SERQ_VALUES")
    for call in _calls(*frame_parts(spec, tables)):
        yield from _kept_within(call)
    if spec.sequence_frames:
        frames, size = _calls(features_part(spec))[0].arguments[3:5]
        yield Assertion("rows", f"{frames} == SERQ_SEQUENCE && {size} == SERQ_COEFFICIENTS")
        yield Assertion("features", f"{frames} * {size} <= SERQ_FEATURES")
        return
    last = _calls(features_part(spec))[-1]
    written = f"{last.arguments[1]}" + (f" * {last.arguments[5]}" if len(last.arguments) > 5 else "")
    yield Assertion("features", f"{_offset(last.arguments[-1])} + {written} <= SERQ_FEATURES")


def _kept_within(call: Call) -> Iterator[Assertion]:
    """Yield that what a call keeps of a frame has its place."""
    if call.function == POOL_ADD:
        pools, size, _, values = call.arguments[:4]
        yield Assertion(f"{values}_pools", f"{_offset(pools)} + {size} <= SERQ_POOLS")
    if call.function == KEEP:
        to, values, size = call.arguments[:3]
        name = f"{str(values).partition(' ')[0]}_coefficients"
        yield Assertion(name, f"{_offset(to)} + {size} <= SERQ_COEFFICIENTS")
    if call.function == "serq_histogram_add":
        at, size, _, values = call.arguments[:4]
        name = str(values).partition(" ")[0]
        yield Assertion(f"{name}_histograms", f"{_offset(at)} + {size} <= SERQ_HISTOGRAMS")
    if call.function == "serq_count_add":
        counts, place = call.arguments
        yield Assertion(f"{str(place).removeprefix('&')}_counts", f"{_offset(counts)} < SERQ_SELECTIONS")
    if call.function == "serq_select":
        yield Assertion(f"{call.arguments[3]}_bit", f"{call.arguments[2]} < 32")


def frame_costs(spec: FeatureSpec, tables: FrontendTables, *, quiet: bool = False) -> Iterator[Cost]:
    """Yield the rows of what a frame costs, in the order of computation.

    quiet: a frame that neither counts nor rises above the noise floor, which ends at its level.
    """
    yield from _level_costs(spec, tables)
    if not quiet or spec.sequence_frames:
        yield from _value_costs(spec, tables)


def _level_costs(spec: FeatureSpec, tables: FrontendTables) -> Iterator[Cost]:
    length, points, bands = spec.frame_length, spec.fft_length // 2, spec.mel_bands
    shared = min(length - spec.hop_length, spec.hop_length) if spec.hop_length % 2 == 0 else 0
    yield Cost("frame shift", "frame shift", (length - shared, 1))
    yield Cost("fft", f"fft {spec.fft_length}", (length, 1))
    both = points if spec.uses_pitch else 0  # the compiler makes one function for both transforms
    yield Cost("spectrum", "spectrum", (points, both, 1))
    yield Cost("power", "power", (points, 1))
    if spec.uses_mel:
        yield Cost("mel", "mel", (int(tables.segment[:, 0].sum()), bands, 1))
        yield Cost("log", "log", (bands, 1))
    added = sum(count for _, count in bins_outside_mel(spec, tables))
    if spec.needs_total and added:
        yield Cost("add power", "add power", (added, 1))
    yield Cost("level", "level", (1,))
    if spec.sequence_frames:
        yield Cost("next row", "next row", (1,))
    else:
        yield Cost("place frame", "place frame", (_cleared_bytes(spec, tables), 1))
    yield Cost("frame rises", "frame rises", (1,))


def _value_costs(spec: FeatureSpec, tables: FrontendTables) -> Iterator[Cost]:
    if spec.uses_pitch:
        yield Cost("correlate", f"correlate {4 * pitch_points(spec, tables)}", (1,))
        yield Cost("pitch", "pitch", (len(tables.pitch["cost"]), 1))
    yield Cost("add speech", "add speech", (1,))
    for block in spec.order:
        yield from block.costs(spec, tables.of(block))
        if not spec.sequence_frames:
            yield from _pooling_costs(spec, block)
    if spec.sequence_frames:
        yield Cost("sequence keep", "sequence keep", (spec.coefficients, len(spec.blocks)))
    else:
        yield Cost("pool add", "pool add", (sum(block.size for block in spec.blocks), len(spec.blocks)))


def _pooling_costs(spec: FeatureSpec, block: FeatureBlock) -> Iterator[Cost]:
    """Yield what all blocks' selections and histograms cost, after the first block that has some."""
    selective = [other for other in spec.order if other.selective]
    if block in selective[:1]:
        yield Cost("select", "select", (len(selective),))
        yield Cost("count add", "count add", (len(selective),))
    counted = [other for other in spec.order if other.percentiles]
    if block in counted[:1]:
        yield Cost("histogram add", "histogram add", (sum(len(other.histograms) for other in counted), 1))


def _cleared_bytes(spec: FeatureSpec, tables: FrontendTables) -> int:
    """Count the bytes of sums that a clip's first frame clears."""
    pools = sum(block.size * POOL_BYTES + len(block.histograms) * HISTOGRAM_BYTES for block in spec.blocks)
    return pools * tables.tiers(spec).count


def frame_functions(spec: FeatureSpec, tables: FrontendTables) -> tuple[str, ...]:
    """Name the C functions of a frame's stages in the order of computation, pooling last."""
    last = KEEP if spec.sequence_frames else POOL_ADD
    called = [name for part in frame_parts(spec, tables) for name in part.functions if name != last]
    return tuple(dict.fromkeys((*TRANSFORM, *called, last)))


def extra_sources(spec: FeatureSpec, tables: FrontendTables) -> dict[Path, str]:
    """Return the C files that the specification's blocks bring, and the kind that brings each."""
    return {path: block.kind for block in spec.blocks for path in block.code(spec, tables.of(block)).sources}


def pool_place(spec: FeatureSpec, block: FeatureBlock) -> int:
    """Return where a block's sums begin among all pools, which are in the order of the specification."""
    return sum(other.size for other in spec.blocks[: spec.blocks.index(block)])


def selection(spec: FeatureSpec, block: FeatureBlock) -> int:
    """Return the number of the frames that a block counts: 0 for all that count, else its own."""
    chosen = [other for other in spec.blocks if other.selective]
    return chosen.index(block) + 1 if block.selective else 0


def selection_count(spec: FeatureSpec) -> int:
    """Count the selections of frames: that of all that count, and one for each selective block."""
    return 1 + sum(block.selective for block in spec.blocks)


def pitch_points(spec: FeatureSpec, tables: FrontendTables) -> int:
    """Return the complex points of the pitch stage's transform, 0 if there is none."""
    return len(tables.pitch["weight"]) // 2 if spec.uses_pitch else 0


def bins_outside_mel(spec: FeatureSpec, tables: FrontendTables) -> list[tuple[int, int]]:
    """Return first bin and count of the bins that no mel segment reads."""
    start, end = 0, 0
    if spec.uses_mel:
        start, end = tables.first_bin, tables.first_bin + int(tables.segment[:, 0].sum())
    return [(first, count) for first, count in ((0, start), (end, spec.bins - end)) if count]


def _calls(*parts: CPart) -> list[Call]:
    return [step for part in parts for step in part.steps if isinstance(step, Call)]


def _offset(argument: str | int) -> int:
    """Return the n of an argument `array + n`, or `array + n * TIERS`."""
    return int(str(argument).rpartition("+")[2].removesuffix(f" * {TIERS}"))


def _pools(place: int) -> str:
    return f"state->pools + {place} * {TIERS}"


def _histograms(spec: FeatureSpec, block: FeatureBlock) -> str:
    before = sum(len(other.histograms) for other in spec.blocks[: spec.blocks.index(block)])
    return f"state->histograms + {before} * {TIERS}"


def _histogram_table(block: FeatureBlock) -> str:
    return f"serq_{block.kind}_histogram_table"


def _percent_table(block: FeatureBlock) -> str:
    return f"serq_{block.kind}_percent_table"


def _percentile_arrays(block: FeatureBlock, tables: FrontendTables) -> tuple[CArray, ...]:
    """Return the tables of a block's histograms and of its percentiles."""
    if not block.percentiles:
        return ()
    percents = np.array([STATISTICS[name].percent for name in block.percentiles], np.uint8)
    return (
        CArray(_histogram_table(block), tables.of(block)[HISTOGRAM]),
        CArray(_percent_table(block), percents),
    )


def _counts(spec: FeatureSpec, block: FeatureBlock) -> str:
    return f"state->counts + {selection(spec, block)} * {TIERS}"


def _mel_part(spec: FeatureSpec, tables: FrontendTables) -> CPart:
    bands = spec.mel_bands
    mel = (f"bins + {tables.first_bin}", "serq_segment_table", bands, "bands")
    log = ("bands", bands, "serq_mel_offset_table", "serq_log_table", "shift", tables.log_floor)
    steps = (
        Declare("serq_band *", "bands", "state->scratch.frame.bands"),
        Declare("int32_t *", "log", "bands->log"),
        Call("serq_mel", mel, result="uint64_t power" if spec.needs_total else ""),
        Trace("mel", "bands", bands, "uint64_t"),
        Call("serq_log", log, result="uint64_t energy"),
        Trace("log", "log", bands, "int32_t"),
    )
    arrays = (
        CArray("serq_segment_table", tables.segment),
        CArray("serq_mel_offset_table", tables.mel_offset),
    )
    return CPart(steps, arrays)


def _pitch_part(spec: FeatureSpec, tables: FrontendTables) -> CPart:
    points = pitch_points(spec, tables)
    first, scale, offset, threshold = tables.pitch["search"].tolist()
    lags, stride = len(tables.pitch["cost"]), spec.fft_length // (4 * points)
    correlate = (
        *("bins", "power", "serq_pitch_weight_table", "serq_pitch_compress_table"),
        *("serq_twiddle_table", stride, "serq_pitch_twiddle_table", points.bit_length() - 1, scale),
        *(first + lags, "state->scratch.frame.lags"),
    )
    search = ("correlation", first, lags, "serq_pitch_cost_table", offset, threshold)
    steps = (
        *(() if spec.sequence_frames else (ReturnUnless(NEEDS, ("&place", "rises")),)),
        Declare("int32_t *", "pitch", "state->scratch.frame.pitch"),
        Call(CORRELATE, correlate, result="const int32_t *correlation"),
        Call("serq_pitch", (*search, "serq_log_table", "pitch"), result="uint8_t voiced"),
        Trace("pitch", "pitch", 2, "int32_t"),
    )
    arrays = (
        CArray("serq_pitch_weight_table", tables.pitch["weight"]),
        CArray("serq_pitch_compress_table", tables.pitch["compress"]),
        CArray("serq_pitch_twiddle_table", tables.twiddle[:: 2 * stride]),
        CArray("serq_pitch_cost_table", tables.pitch["cost"]),
    )
    return CPart(steps, arrays, headers=("serq_pitch.h",))


def _level_part(spec: FeatureSpec, tables: FrontendTables) -> CPart:
    """Complete `power`, the sum of all bins' powers, if it is needed; find level and place of the frame."""
    steps: list[Step] = [] if spec.uses_mel else [Declare("uint64_t", "power", "0")]
    for first, count in bins_outside_mel(spec, tables) if spec.needs_total else ():
        steps.append(Call("serq_add_power", (f"bins + {first}", count, "power"), result="power"))
    total = "energy" if spec.uses_mel else "power"
    arguments = (total, "shift", tables.level_offset, "serq_log_table")
    steps += [
        Declare("int32_t *", "level", "&state->scratch.frame.level"),
        Call("serq_level", arguments, result="*level"),
        Trace("level", "level", 1, "int32_t"),
        Call("serq_next_row", ("state", "*level"), result="int16_t *row")
        if spec.sequence_frames
        else Call("serq_place_frame", ("state", "*level"), result="serq_place place"),
        Call("serq_frame_rises", ("state", "*level"), result="bool rises"),
    ]
    return CPart(tuple(steps))


def _keeping(spec: FeatureSpec, tables: FrontendTables, block: FeatureBlock) -> Iterator[Step]:
    """Yield the call that keeps a block's values of a frame of a sequence."""
    chosen, shift = block.sequence_range, tables.pool_shifts[spec.blocks.index(block)]
    counts: str | int = f"{block.stage}_counts" if block.selective else 1
    to, values = f"row + {spec.place_in_sequence(block)}", f"{block.stage} + {chosen.start}"
    yield Call(KEEP, (to, values, len(chosen), shift, counts))


def _pooling(spec: FeatureSpec, tables: FrontendTables, block: FeatureBlock) -> Iterator[Step]:
    at, shift, place = pool_place(spec, block), tables.pool_shifts[spec.blocks.index(block)], "place"
    if block.selective:
        number, place = selection(spec, block), f"{block.stage}_place"
        chosen = ("&state->tiers", "place", number, f"{block.stage}_counts")
        yield Call("serq_select", chosen, result=f"serq_place {place}")
        yield Call("serq_count_add", (_counts(spec, block), f"&{place}"))
    edges = (f"state->first + {at}", f"state->last + {at}")
    yield Call(POOL_ADD, (_pools(at), block.size, TIERS, block.stage, shift, f"&{place}", *edges))
    if block.percentiles:
        count, values = len(block.histograms), f"{block.stage} + {block.histograms.start}"
        counted = (
            _histograms(spec, block),
            count,
            TIERS,
            values,
            shift,
            _histogram_table(block),
            f"&{place}",
        )
        yield Call("serq_histogram_add", counted)
