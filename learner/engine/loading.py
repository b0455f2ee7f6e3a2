"""One model is loaded at a time: meanwhile transformers changes torch's default dtype, for the whole process."""

import threading

ALONE = threading.Lock()
"""Two that load beside each other would each put back what the other had set, and leave bf16 for good."""
