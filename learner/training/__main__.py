"""`python -m learner.training FOLDER`: the training process, heard by learner.training.run on standard output."""

import dataclasses
import os
import sys
from pathlib import Path


def main() -> int:
    from learner.training.parent import die_with_parent

    die_with_parent()
    # Libraries print; the talk with the night must not be disturbed by them.
    talk = os.dup(1)
    os.dup2(2, 1)
    folder = Path(sys.argv[1])

    from learner.training import stage
    from learner.training.errors import TrainingStopped
    from learner.training.job import TrainingJob, say

    try:
        done = stage.run(
            folder,
            TrainingJob.read(folder),
            lambda progress: say(dataclasses.asdict(progress), talk),
        )
    except TrainingStopped as stopped:
        say({"error": str(stopped)}, talk)
        return 1
    course = done.course
    say(
        {
            "done": True,
            "tokens": course.tokens,
            "seconds": course.pace.seconds,
            "stopped": course.stopped,
            "losses": course.losses,
            "skipped": done.skipped,
            "scale": done.scale,
            "peak_memory_bytes": stage.peak_memory_bytes(),
        },
        talk,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
