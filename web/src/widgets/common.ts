import type { JsonValue } from "../model/document";

/** What every widget is given. `value` is what holds now: the one given, else the input's default. */
export interface WidgetProps {
  label: string;
  title: string;
  value: JsonValue;
  given: boolean;
  /** Whether null is a value. */
  optional: boolean;
  /** Id of the element that says what is wrong with the value. */
  described: string | undefined;
  /** Give the input a value; undefined takes it away, so that the default holds. */
  set: (value: JsonValue | undefined) => void;
}
