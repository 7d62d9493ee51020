"""What happened, as data, read back.

load_records("results/,method=lora,rank=8")      # every finished or failed run below a folder that matches
"""

from harness.records.prediction import Prediction
from harness.records.reading import StoredRecord, load_records
from harness.records.record import Record

__all__ = ["Prediction", "Record", "StoredRecord", "load_records"]
