// A question with two answers, in the browser's own dialog: it keeps the focus inside, Escape
// means no, and the focus goes back to where it was.

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { texts } from "../texts";

interface Question {
  title: string;
  text: string;
  answer: (yes: boolean) => void;
}

const question = signal<Question | null>(null);

export function confirm(title: string, text: string): Promise<boolean> {
  return new Promise((resolve) => {
    question.value = {
      title,
      text,
      answer: (yes) => {
        question.value = null;
        resolve(yes);
      },
    };
  });
}

export function ConfirmDialog() {
  const asked = question.value;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (asked !== null) dialog.current?.showModal();
  }, [asked]);
  if (asked === null) return null;
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby="confirm-title"
      aria-describedby="confirm-text"
      onCancel={(event) => {
        event.preventDefault();
        dialog.current?.close();
        asked.answer(false);
      }}
    >
      <h2 id="confirm-title">{asked.title}</h2>
      <p id="confirm-text" class="muted">
        {asked.text}
      </p>
      <div class="dialog-buttons">
        <button
          type="button"
          class="button"
          data-testid="confirm-no"
          onClick={() => {
            dialog.current?.close();
            asked.answer(false);
          }}
        >
          {texts.confirm.no}
        </button>
        <button
          type="button"
          class="button danger"
          data-testid="confirm-yes"
          onClick={() => {
            dialog.current?.close();
            asked.answer(true);
          }}
        >
          {texts.confirm.yes}
        </button>
      </div>
    </dialog>
  );
}
