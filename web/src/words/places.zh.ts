// 画布上保存的位置。
const numbered = Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((n) => [
  [`command.go_${n}`, `前往位置 ${n}`],
  [`command.keep_${n}`, `将当前视图保存为位置 ${n}`],
]));
export const places: { [key: string]: string } = {
  ...numbered,
  "command.forget_places": "清除所有位置",
  "place.kept": "视图已保存：按 {digit} 返回",
  "place.gone": "位置 {digit}",
  "edit.keep": "保存位置",
  "edit.forget": "清除位置",
};
