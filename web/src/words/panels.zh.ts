// 面板文字：队列、图库、蒙版绘制、模板、图表。
export const panels = {
  "queue.title": "队列",
} as const;
