import dataclasses
import typing


@dataclasses.dataclass
class Item:
    x: "typing.List[int]"


print(typing.get_type_hints(Item), Item([1]))
