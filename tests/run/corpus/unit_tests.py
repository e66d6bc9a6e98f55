import unittest


class Case(unittest.TestCase):
    def test(self):
        self.assertEqual(1, 2)


if __name__ == "__main__":
    unittest.main(argv=["unit_tests.py", "-q"])
