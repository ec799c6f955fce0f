// The place to drop songs on, or to choose them; the whole window takes them, too.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { wishOf } from "../options/choice";
import { choice, models } from "../options/store";
import { texts } from "../texts";
import { announce } from "../ui/announce";
import { addFiles } from "./store";

const over = signal(false);

function add(files: Iterable<File>): void {
  const added = addFiles(files, wishOf(choice.peek(), models.peek() ?? []));
  if (added > 0) announce(texts.drop.added(added));
}

const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;

/** Makes the window take files. A leave without an enter elsewhere ends the hint. */
export function useWindowDrop(): void {
  useEffect(() => {
    let depth = 0;
    const stop = new AbortController();
    const on = (name: string, handle: (event: DragEvent) => void) =>
      window.addEventListener(
        name,
        (event) => {
          if (!hasFiles(event as DragEvent)) return;
          event.preventDefault();
          handle(event as DragEvent);
        },
        { signal: stop.signal },
      );
    on("dragenter", () => {
      depth += 1;
      over.value = true;
    });
    on("dragover", (event) => {
      if (event.dataTransfer !== null) event.dataTransfer.dropEffect = "copy";
    });
    on("dragleave", () => {
      depth -= 1;
      if (depth <= 0) over.value = false;
    });
    on("drop", (event) => {
      depth = 0;
      over.value = false;
      add(event.dataTransfer?.files ?? []);
    });
    return () => stop.abort();
  }, []);
}

export function DropVeil() {
  if (!over.value) return null;
  return (
    <div class="veil" aria-hidden="true">
      <span>{texts.drop.over}</span>
    </div>
  );
}

export function DropZone() {
  const input = useRef<HTMLInputElement>(null);
  return (
    <div
      class="drop"
      data-testid="drop-zone"
      onClick={(event) => {
        if (!(event.target instanceof HTMLButtonElement)) input.current?.click();
      }}
    >
      <h1>{texts.drop.heading}</h1>
      <p class="drop-lead">{texts.drop.leadTouch}</p>
      <button
        type="button"
        class="button primary large"
        onClick={() => input.current?.click()}
        aria-describedby="drop-hint"
      >
        {texts.drop.choose}
      </button>
      <p class="muted drop-hint" id="drop-hint">
        <span class="drop-fine">{texts.drop.lead} · </span>
        {texts.drop.formats}
      </p>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label={texts.drop.choose}
        data-testid="file-input"
        onClick={(event) => event.stopPropagation()}
        onChange={(event) => {
          add([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
    </div>
  );
}

/** Asks for one file. */
export function chooseFile(onFile: (file: File) => void): void {
  const input = document.createElement("input");
  input.type = "file";
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file !== undefined) onFile(file);
  });
  input.click();
}
