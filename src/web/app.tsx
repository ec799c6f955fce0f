// The page: its frame, and which part of it is shown.

import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";

import { connectionLost, loginNeeded } from "./api/client";
import { Failure } from "./api/failure";
import { Songs } from "./jobs/list";
import { LoginForm } from "./login/form";
import { account, logout } from "./login/session";
import { OptionsPanel } from "./options/panel";
import { openId } from "./route";
import { texts } from "./texts";
import { announce, announced } from "./ui/announce";
import { ConfirmDialog } from "./ui/confirm";
import { DropVeil, DropZone, useWindowDrop } from "./upload/drop";
import { sendingCount } from "./upload/store";
import { SongView } from "./view";

function Account(props: { name: string }) {
  const trouble = useSignal<string | null>(null);
  const leave = async () => {
    trouble.value = null;
    try {
      await logout();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      trouble.value = texts.header.stays(texts.failure(error));
    }
  };
  return (
    <span class="head-account">
      <span class={trouble.value === null ? "muted" : "bad"} role="status">
        {trouble.value ?? props.name}
      </span>
      <button type="button" class="button quiet" data-testid="logout" onClick={() => void leave()}>
        {texts.header.logout}
      </button>
    </span>
  );
}

function Head() {
  const sending = sendingCount.value;
  return (
    <header class="head">
      <a class="head-name" href="#/" aria-label={texts.header.home}>
        <span class="mark">
          <i />
          <i />
          <i />
          <i />
        </span>
        {texts.header.name}
      </a>
      {sending > 0 && openId.value !== null ? (
        <a class="head-note" href="#/">
          {texts.header.uploading(sending)}
        </a>
      ) : null}
      {account.value !== null ? <Account name={account.value} /> : null}
    </header>
  );
}

function Connection() {
  const before = useRef(false);
  useSignalEffect(() => {
    const lost = connectionLost.value;
    if (lost !== before.current) announce(lost ? texts.announce.lost : texts.announce.back);
    before.current = lost;
  });
  if (!connectionLost.value) return null;
  return (
    <div class="connection" data-testid="connection-note">
      {texts.connection}
    </div>
  );
}

function Home() {
  return (
    <>
      <section class="send" aria-label={texts.drop.choose}>
        <DropZone />
        <OptionsPanel />
      </section>
      <Songs />
    </>
  );
}

export function App(props: { onLogin: () => void }) {
  useWindowDrop();
  const id = openId.value;
  return (
    <>
      <Head />
      <main class="page">
        {loginNeeded.value ? (
          <LoginForm onLogin={props.onLogin} />
        ) : id !== null ? (
          <SongView key={id} id={id} />
        ) : (
          <Home />
        )}
      </main>
      <DropVeil />
      <Connection />
      <ConfirmDialog />
      <p class="hidden" role="status">
        {announced.value}
      </p>
    </>
  );
}
