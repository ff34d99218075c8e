// Focus for what is drawn only in one of the next frames.

/**
 * Give the focus to an element as soon as it can take it: what was just added is drawn and measured first.
 * The focus comes from where it is now; from a list or a field that it goes to meanwhile it is not taken away.
 */
export function focusSoon(find: () => HTMLElement | null | undefined, frames = 30, from = document.activeElement): void {
  const now = document.activeElement;
  if (now !== from && now !== document.body) return;
  const element = find();
  element?.focus({ preventScroll: true });
  if (document.activeElement !== element && frames > 0) requestAnimationFrame(() => focusSoon(find, frames - 1, from));
}
