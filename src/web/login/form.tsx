// Asks for the token where the service has accounts.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { Failure } from "../api/failure";
import { texts } from "../texts";
import { login } from "./session";

const words = texts.login;

export function LoginForm(props: { onLogin: () => void }) {
  const token = useSignal("");
  const busy = useSignal(false);
  const wrong = useSignal<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);
  const submit = async () => {
    busy.value = true;
    wrong.value = null;
    try {
      await login(token.value.trim());
      props.onLogin();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      wrong.value = error.status === 401 ? words.wrong : texts.failure(error);
      input.current?.focus();
    } finally {
      busy.value = false;
    }
  };
  return (
    <form
      class="login"
      data-testid="login-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (token.value.trim() !== "" && !busy.value) void submit();
      }}
    >
      <h1>{words.heading}</h1>
      <p class="muted">{words.text}</p>
      <label class="field">
        <span class="label">{words.token}</span>
        <input
          ref={input}
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          required
          data-testid="token-input"
          aria-invalid={wrong.value !== null}
          aria-describedby="login-wrong"
          value={token.value}
          onInput={(event) => (token.value = event.currentTarget.value)}
        />
      </label>
      <p id="login-wrong" class="bad login-wrong" role="alert">
        {wrong.value}
      </p>
      <button type="submit" class="button primary" disabled={busy.value}>
        {words.submit}
      </button>
    </form>
  );
}
