"""Span, a low-rank adapter, registered with peft when it is imported.

>>> peft.get_peft_model(model, SpanConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
"""

from peft.utils import PeftType, register_peft_method

from span_adapter.config import SpanConfig
from span_adapter.model import SpanModel

__all__ = ["SpanConfig", "SpanModel"]


def _register(name: str) -> None:
    """peft knows its methods by an enumeration, to which a method from outside has to be added first."""
    kind = str.__new__(PeftType, name.upper())
    kind._name_ = kind._value_ = name.upper()
    setattr(PeftType, kind.name, kind)
    PeftType._member_map_[kind.name] = PeftType._value2member_map_[kind.value] = kind
    PeftType._member_names_.append(kind.name)
    register_peft_method(name=name, config_cls=SpanConfig, model_cls=SpanModel)


_register("span")
