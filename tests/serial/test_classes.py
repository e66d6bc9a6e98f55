"""Classes of ``__main__``: one class in the worker, the parent's own class in results."""


def test_all_kinds_arrive_as_the_parents_own_class(script):
    script("""
        import abc
        import collections
        import dataclasses
        import enum
        import typing
        T = typing.TypeVar("T")
        P = typing.ParamSpec("P")
        UserId = typing.NewType("UserId", int)
        class Plain:
            class Inner:
                pass
        class Slots:
            __slots__ = ("a", "b")
            def __init__(self, a):
                self.a = a
        class Base:
            def who(self):
                return "base"
        class Derived(Base):
            def who(self):
                return "derived " + super().who()
            @property
            def prop(self):
                return self.who()
        class Meta(type):
            def __call__(cls, *args):
                obj = super().__call__(*args)
                obj.made_by = cls
                return obj
        class WithMeta(metaclass=Meta):
            pass
        @dataclasses.dataclass
        class Data:
            a: int
            b: list = dataclasses.field(default_factory=list)
        @dataclasses.dataclass(frozen=True, slots=True, order=True)
        class Frozen:
            a: int = 5
        @dataclasses.dataclass
        class More(Data):
            c: int = 3
        class Color(enum.Enum):
            RED = 1
            BLUE = "b"
            CRIMSON = 1
            def loud(self):
                return self.name.upper()
        class Perm(enum.Flag):
            R = enum.auto()
            W = enum.auto()
        class Level(enum.IntEnum):
            LOW = 1
        Point = collections.namedtuple("Point", "x y")
        class Typed(typing.NamedTuple):
            x: int
            y: str = "y"
        class Box(typing.Generic[T]):
            def __init__(self, x):
                self.x = x
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
        class Square(Shape):
            def area(self):
                return 4
        @Shape.register
        class Foreign:
            pass
        class Proto(typing.Protocol):
            def area(self): ...
        class Options(typing.TypedDict):
            a: int
        def same(x):
            return x
        def make():
            return [Plain(), Plain.Inner(), Slots(1), Derived(), WithMeta(), Data(1), Frozen(), More(1),
                    Point(1, 2), Typed(1), Box(1), Square()]
        def members():
            return [Color.RED, Color("b"), Color.CRIMSON, Perm.R | Perm.W, Level.LOW, T, P, UserId]
        def check(items, colors):
            return (
                all(type(a) is type(b) for a, b in zip(items, make())),
                all(a is b for a, b in zip(colors, members())),
                items[3].who(), items[3].prop, type(items[4].made_by) is Meta, Color.BLUE.loud(),
                isinstance(Foreign(), Shape), dataclasses.replace(items[6], a=7).a, More(1, c=4).c,
                Data.__dataclass_fields__["a"].default is dataclasses.MISSING, Box[int](3).x, Options(a=1),
            )
        with Worker() as w:
            made = w.call(make)
            assert [type(x) for x in made] == [type(x) for x in make()]
            assert made[5] == Data(1, []) and made[6] == Frozen() and made[8] == (1, 2)
            assert made[4].made_by is WithMeta
            got = w.call(members)
            assert all(a is b for a, b in zip(got, members())), got
            back = w.call(same, make())
            assert [type(x) for x in back] == [type(x) for x in make()]
            assert w.call(check, make(), members()) == (
                True, True, "derived base", "derived base", True, "BLUE", True, 7, 4, True, 3, {"a": 1})
            assert w.call(same, Color) is Color and w.call(same, Plain.Inner) is Plain.Inner
            assert w.call(same, Plain) is Plain and w.call(same, make) is make
            assert all(name is None or w.sent.count(name) == 1 for name in w.sent if name[0].isupper()), w.sent
    """)


def test_attributes_of_enum_members_and_cached_properties(script):
    script("""
        import enum
        import functools
        class Planet(enum.Enum):
            EARTH = (2, 3)
            MARS = (4, 5)
            def __init__(self, mass, radius):
                self.mass = mass
                self.radius = radius
            @property
            def density(self):
                return self.mass / self.radius
        class Lazy:
            @functools.cached_property
            def value(self):
                return [Planet.EARTH]
        def use(planet, lazy):
            return planet.density, Planet(planet.value) is planet, lazy.value is lazy.value, lazy.value, lazy
        with Worker() as w:
            density, same, cached, value, lazy = w.call(use, Planet.MARS, Lazy())
            assert (density, same, cached) == (0.8, True, True) and value[0] is Planet.EARTH
            assert lazy.__dict__ == {"value": [Planet.EARTH]}
    """)


def test_class_defined_in_function(script):
    script("""
        import dataclasses
        import enum
        BASE = 10
        def factory():
            class Local:
                def __init__(self, x):
                    self.x = x
                def get(self):
                    return self.x + BASE
                def clone(self):
                    return Local(self.x)
                def up(self):
                    return super().__repr__()[:1]
            @dataclasses.dataclass
            class Data:
                a: int
            class Color(enum.Enum):
                RED = 1
            return Local, Data, Color
        Local, Data, Color = factory()
        def use(obj):
            return obj.get(), obj.clone(), obj.up()
        def same(*x):
            return x
        with Worker() as w:
            value, clone, up = w.call(use, Local(1))
            assert value == 11 and type(clone) is Local and up == "<"
            obj, data, color = w.call(same, Local(2), Data(3), Color.RED)
            assert type(obj) is Local and data == Data(3) and color is Color.RED
            assert w.call(same, Local, Data)[0] is Local
    """)


def test_redefined_class(script):
    script("""
        class A:
            version = 1
        old = A()
        def version(a):
            return a.version, type(a) is A, A.version
        with Worker() as w:
            assert w.call(version, old) == (1, True, 1)
            first = w.encode(version, old)
            class A:
                version = 2
            assert w.call(version, A()) == (2, True, 2)
            assert w.call(version, old) == (1, False, 2)
            assert w.run(*first) == (1, True, 1)
            assert w.call(version, A()) == (2, True, 2)
            assert type(w.call(A)) is A
    """)


def test_metaclass_that_reads_globals_while_a_class_is_made(script):
    script("""
        REGISTRY = []
        def note(name):
            REGISTRY.append(name)
        class Meta(type):
            def __new__(mcs, name, bases, namespace):
                note(name)
                return super().__new__(mcs, name, bases, namespace)
        class Plugin:
            def __init_subclass__(cls, **kwargs):
                note("sub " + cls.__name__)
        class A(metaclass=Meta):
            pass
        class B(Plugin):
            pass
        def names(a, b):
            return type(a) is A, type(b) is B, sorted(set(REGISTRY))
        with Worker() as w:
            a, b, names = w.call(names, A(), B())
            assert a and b and names == ["A", "sub B"], names
    """)


def test_result_that_exists_only_in_the_worker(script):
    script("""
        OFFSET = 5
        def make():
            class Local:
                def get(self):
                    return OFFSET
            return (lambda x: x + OFFSET), Local(), Local
        def refuse():
            import threading
            return {"a": [threading.Lock()]}
        with Worker() as w:
            function, obj, cls = w.call(make)
            OFFSET = 6
            assert function(1) == 7 and obj.get() == 6 and type(obj) is cls
            try:
                w.call(refuse)
            except TypeError as e:
                assert str(e).endswith("result['a'][0] is a _thread.lock, which cannot be pickled"), e
            else:
                raise AssertionError
    """)


def test_singleton_that_reduces_to_its_name(script):
    script("""
        class Missing:
            def __reduce__(self):
                return "MISSING"
        MISSING = Missing()
        def is_missing(x=MISSING):
            return x is MISSING
        def get():
            return MISSING
        with Worker() as w:
            assert w.call(is_missing, MISSING) and w.call(is_missing) and not w.call(is_missing, Missing)
            assert w.call(get) is MISSING
    """)
