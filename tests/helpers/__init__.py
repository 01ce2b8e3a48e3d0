"""What several test files use."""

from helpers.command import FIGURES, NO_FIGURES, compare_command, exit_code, overridden
from helpers.interruption import DropoutNet, Killed, kill_at_write, numbers
from helpers.local_server import serving
from helpers.medmnist_files import small_set
from helpers.output import Page, comparison_page, confusions, notes, parsed, rows, texts
from helpers.processes import printed, processes_in, run_lean, started
from helpers.real_data import real_file
from helpers.runs import (
    OTHER_DATA,
    PAGE_CLASSES,
    PAGE_SAMPLES,
    RECORD,
    RUN_CLASSES,
    RUN_TARGETS,
    SWEEP_COMMAND,
    make_run,
    make_sweep,
    write_answers,
    write_run,
)
from helpers.samples import CLASSES, CONFUSION, LESIONS, history, random_predictions, small_arrays

__all__ = [
    "CLASSES",
    "CONFUSION",
    "FIGURES",
    "LESIONS",
    "NO_FIGURES",
    "OTHER_DATA",
    "PAGE_CLASSES",
    "PAGE_SAMPLES",
    "RECORD",
    "RUN_CLASSES",
    "RUN_TARGETS",
    "SWEEP_COMMAND",
    "DropoutNet",
    "Killed",
    "Page",
    "compare_command",
    "comparison_page",
    "confusions",
    "exit_code",
    "history",
    "kill_at_write",
    "make_run",
    "make_sweep",
    "notes",
    "numbers",
    "overridden",
    "parsed",
    "printed",
    "processes_in",
    "random_predictions",
    "real_file",
    "rows",
    "run_lean",
    "serving",
    "small_arrays",
    "small_set",
    "started",
    "texts",
    "write_answers",
    "write_run",
]
