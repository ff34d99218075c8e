// Words of the places of a canvas that are kept. {slots} are filled in.
const numbered = Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((n) => [
  [`command.go_${n}`, `Go to place ${n}`],
  [`command.keep_${n}`, `Keep the view as place ${n}`],
]));
export const places: { [key: string]: string } = {
  ...numbered,
  "command.forget_places": "Forget all places",
  "place.kept": "The view is kept: {digit} comes back to it",
  "place.gone": "Place {digit}",
  "edit.keep": "keep a place",
  "edit.forget": "forget places",
};
