"""Records of runs, read back as data.

load_records("results/,method=lora,rank=8")      # every matching run below a folder, finished or failed
"""

from harness.records.prediction import Prediction
from harness.records.reading import StoredRecord, load_records
from harness.records.record import Record

__all__ = ["Prediction", "Record", "StoredRecord", "load_records"]
