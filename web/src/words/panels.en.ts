// The words of the panels: queue, gallery, mask painter, templates, plots. {slots} are filled in.
export const panels = {
  "queue.title": "Queue",
} as const;
