// Model, stems and format of the next songs.

import type { Model } from "../api/types";
import { texts } from "../texts";
import { FORMATS, modelOf, splitOf, toggled, wantedOf, type Format } from "./choice";
import { choice, models, modelsLate, setChoice } from "./store";

const words = texts.options;

const colour = (stem: string) => ({ "--stem": `var(--stem-${stem}, var(--stem-any))` });

function Stems(props: { model: Model }) {
  const { model } = props;
  const now = choice.value;
  const karaoke = now.mode === "karaoke";
  const wanted = wantedOf(now, model);
  const split = splitOf(now, model);
  return (
    <fieldset class="field">
      <legend>{karaoke ? words.split : words.stems}</legend>
      <div class="chips">
        {model.stems.map((stem) => (
          <label key={stem} class="chip" style={colour(stem)}>
            <input
              type={karaoke ? "radio" : "checkbox"}
              name={karaoke ? "split" : undefined}
              checked={karaoke ? stem === split : wanted.includes(stem)}
              data-testid={`stem-check-${stem}`}
              onChange={(event) => {
                const input = event.currentTarget;
                if (karaoke) setChoice({ ...now, split: stem });
                else setChoice(toggled(now, model, stem));
                // The last stem stays, whatever the box says.
                if (!karaoke) input.checked = wantedOf(choice.peek(), model).includes(stem);
              }}
            />
            <span>{texts.stem(stem)}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export function OptionsPanel() {
  const offered = models.value;
  const now = choice.value;
  const model = offered === null ? undefined : modelOf(now, offered);
  return (
    <section class="options" aria-label={words.heading}>
      <fieldset class="field">
        <legend>{words.mode}</legend>
        <div class="switch">
          {(["stems", "karaoke"] as const).map((mode) => (
            <label key={mode}>
              <input
                type="radio"
                name="mode"
                data-testid={`mode-${mode}`}
                checked={now.mode === mode}
                onChange={() => setChoice({ ...now, mode })}
              />
              <span>{mode === "stems" ? words.all : words.karaoke}</span>
            </label>
          ))}
        </div>
      </fieldset>
      <div class="options-stems">
        {model === undefined ? (
          <p class="muted">{modelsLate.value ? words.noModels : null}</p>
        ) : (
          <Stems model={model} />
        )}
      </div>
      <div class="options-pair">
        <label class="field">
          <span class="label">{words.format}</span>
          <select
            data-testid="format-select"
            value={now.format}
            onChange={(event) => setChoice({ ...now, format: event.currentTarget.value as Format })}
          >
            {FORMATS.map((format) => (
              <option key={format} value={format}>
                {words.formats[format]}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span class="label">{words.model}</span>
          <select
            data-testid="model-select"
            value={model?.name}
            title={model?.licence}
            disabled={model === undefined}
            onChange={(event) => setChoice({ ...now, model: event.currentTarget.value })}
          >
            {model === undefined ? <option>{words.loading}</option> : null}
            {offered?.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
    </section>
  );
}
