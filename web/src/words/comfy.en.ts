// Words of the way from ComfyUI and to it.
export const comfy = {
  "command.export_comfyui": "Export for ComfyUI",
  "report.imported": "From ComfyUI: {name}",
  "report.exported": "For ComfyUI: {name}",
  "report.whole": "Every node has a counterpart here.",
  "report.kept": "Kept as they were ({count})",
  "report.adjusted": "Translated, with something to know ({count})",
  "report.translated": "Translated ({count})",
  "report.unsaid": "ComfyUI has nothing like these. Values are left out of the file; nodes keep their types, which ComfyUI will call missing.",
  "report.download": "Download all the same",
  "report.done": "Written for ComfyUI: every node has a counterpart there.",
  "report.failed": "Could not be written for ComfyUI: {message}",
  "drop.both": "Both",
};
