"""Speech emotion recognition on microcontrollers, from recordings to verified firmware.

`serq_mcu.api` says what can be done from Python; all of it is imported when it is first used.
"""

from typing import TYPE_CHECKING

from serq_mcu.version import __version__

if TYPE_CHECKING:
    from serq_mcu.api import (
        Adaptation,
        Allocation,
        Board,
        Calibration,
        Config,
        Decision,
        Evaluation,
        FeatureSpec,
        Project,
        QuantizedModel,
        Run,
        SerqError,
        Stream,
        VerifyReport,
        Voice,
        adapt,
        calibrate,
        evaluate,
        export,
        features,
        load_board,
        load_config,
        load_model,
        load_run,
        load_voice,
        quantize,
        save_model,
        save_voice,
        train,
        verify,
    )

__all__ = [
    "Adaptation",
    "Allocation",
    "Board",
    "Calibration",
    "Config",
    "Decision",
    "Evaluation",
    "FeatureSpec",
    "Project",
    "QuantizedModel",
    "Run",
    "SerqError",
    "Stream",
    "VerifyReport",
    "Voice",
    "__version__",
    "adapt",
    "calibrate",
    "evaluate",
    "export",
    "features",
    "load_board",
    "load_config",
    "load_model",
    "load_run",
    "load_voice",
    "quantize",
    "save_model",
    "save_voice",
    "train",
    "verify",
]


if not TYPE_CHECKING:  # a type checker has the names above, and no others

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from serq_mcu import api

        value = globals()[name] = getattr(api, name)
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
