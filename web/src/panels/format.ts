// Times and sizes as people read them.
import { locale, t } from "../i18n/index.svelte";

/** `0.4 s`, `12 s`, `3 min 5 s`, `1 h 20 min`. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return t("time.s", { s: seconds.toFixed(1) });
  const whole = Math.round(seconds);
  if (whole < 60) return t("time.s", { s: whole });
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return t("time.min_s", { min: minutes, s: whole % 60 });
  return t("time.h_min", { h: Math.floor(minutes / 60), min: minutes % 60 });
}

/** `about 20 s left`: rough, since it is an estimate. */
export function rough(seconds: number): string {
  if (seconds < 10) return t("time.s", { s: Math.max(1, Math.round(seconds)) });
  if (seconds < 60) return t("time.s", { s: Math.round(seconds / 5) * 5 });
  if (seconds < 3600) return t("time.min", { min: Math.round(seconds / 60) });
  return t("time.h_min", { h: Math.floor(seconds / 3600), min: Math.round((seconds % 3600) / 60) });
}

/** `0.3 MB`, `12 kB`. */
export const bytes = (count: number): string =>
  count < 1e5 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;

/** The time of day; with the date where it was another day. */
export function moment(time: number, now: number = Date.now() / 1000): string {
  const [then, today] = [new Date(time * 1000), new Date(now * 1000)];
  const clock = { hour: "2-digit", minute: "2-digit" } as const;
  return then.toDateString() === today.toDateString()
    ? then.toLocaleTimeString(locale(), clock)
    : then.toLocaleString(locale(), { day: "numeric", month: "short", ...clock });
}
