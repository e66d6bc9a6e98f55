// Colours of functions.

import assert from "node:assert/strict";
import { test } from "node:test";
import { colour } from "../src/palette";

test("functions of one timeline do not look alike", () => {
  const colours = Array.from({ length: 24 }, (_, group) => colour(group));
  assert.equal(new Set(colours).size, 24);
  assert.ok(colours.every((text) => /^#[0-9a-f]{6}$/.test(text)));
  assert.equal(colour(24), colour(0));
});
