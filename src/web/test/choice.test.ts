import assert from "node:assert/strict";
import { test } from "node:test";

import {
  checkChoice,
  FIRST,
  settled,
  toggled,
  wantedOf,
  wishAgain,
  wishOf,
} from "../options/choice";

const four = {
  name: "htdemucs",
  default: true,
  licence: "",
  stems: ["drums", "bass", "other", "vocals"],
};
const six = { ...four, name: "six", default: false, stems: [...four.stems, "guitar", "piano"] };

test("all stems need no option", () => {
  assert.deepEqual(wishOf(FIRST, [four]), { format: "mp3", model: "htdemucs" });
  assert.deepEqual(wishOf(FIRST, []), { format: "mp3" });
});

test("a stem less names the others, and the last one stays", () => {
  let choice = toggled(FIRST, four, "bass");
  assert.deepEqual(wishOf(choice, [four]).stems, ["drums", "other", "vocals"]);
  for (const stem of ["drums", "other", "vocals"]) choice = toggled(choice, four, stem);
  assert.deepEqual(wantedOf(choice, four), ["vocals"]);
  choice = toggled(choice, four, "bass");
  assert.deepEqual(wantedOf(choice, four), ["bass", "vocals"]);
});

test("stems of another model are wanted until they are taken away", () => {
  const choice = { ...toggled(FIRST, four, "bass"), model: "six" };
  const { stems } = wishOf(choice, [four, six]);
  assert.deepEqual(stems, ["drums", "other", "vocals", "guitar", "piano"]);
});

test("karaoke takes out the stem, or vocals where the model has no such stem", () => {
  const choice = { ...FIRST, mode: "karaoke" as const, split: "piano" };
  assert.equal(wishOf({ ...choice, model: "six" }, [four, six]).two_stems, "piano");
  assert.equal(wishOf(choice, [four, six]).two_stems, "vocals");
});

test("while no models are known, what was chosen is asked for", () => {
  const choice = { ...FIRST, model: "six", format: "flac" as const };
  const wish = { model: "six", format: "flac" };
  assert.deepEqual(wishOf({ ...choice, mode: "karaoke" }, []), { ...wish, two_stems: "vocals" });
  assert.deepEqual(wishOf(choice, []), wish);
});

test("stems that are left out of an unknown model wait until it is known", () => {
  const choice = { ...FIRST, model: "six", without: ["bass", "piano"] };
  const wish = JSON.parse(JSON.stringify(wishOf(choice, [])));
  assert.deepEqual(settled(wish, [four, six]), wishOf(choice, [four, six]));
  assert.deepEqual(settled(wishOf(FIRST, []), [four]), { format: "mp3" });
});

test("what was remembered is checked", () => {
  assert.equal(checkChoice("x"), null);
  assert.deepEqual(checkChoice({ format: "exe", mode: 7 }), FIRST);
});

test("a job's options give the same wish again", () => {
  const options = { model: "six", stems: ["bass", "piano"], two_stems: null, format: "flac" };
  const wish = { model: "six", stems: ["bass", "piano"], format: "flac" };
  assert.deepEqual(wishAgain(options), wish);
});
