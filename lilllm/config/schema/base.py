"""What every section of the schema is made of: ranges of numbers, unknown keys refused."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(ge=0, lt=1)]
# Upper bounds leave room to add and double inside 64 bits, and far more than any machine holds.
Count = Annotated[int, Field(gt=0, lt=2**62)]
CountFromZero = Annotated[int, Field(ge=0, lt=2**62)]
Size = Annotated[int, Field(gt=0, lt=2**31)]
Workers = Annotated[int, Field(gt=0, le=4096)]
Penalty = Annotated[float, Field(ge=-100, le=100)]
LearningRate = Annotated[float, Field(gt=0, le=100)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Repeats = Annotated[float, Field(gt=0, le=1e6)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
StepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class Section(BaseModel):
    """A frozen group of keys that refuses keys it does not know."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )
