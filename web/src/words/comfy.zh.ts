// 与 ComfyUI 之间的往来。
export const comfy = {
  "command.export_comfyui": "导出到 ComfyUI",
  "report.imported": "来自 ComfyUI：{name}",
  "report.exported": "用于 ComfyUI：{name}",
  "report.whole": "每个节点在此都有对应。",
  "report.kept": "保持原样（{count}）",
  "report.adjusted": "已转换，但有需要了解之处（{count}）",
  "report.translated": "已转换（{count}）",
  "report.unsaid": "ComfyUI 中没有与以下内容对应的部分。这些值不会写入文件；节点保留原有类型，ComfyUI 会提示缺失。",
  "report.download": "仍然下载",
  "report.done": "已导出到 ComfyUI：每个节点在那里都有对应。",
  "report.failed": "无法导出到 ComfyUI：{message}",
  "drop.both": "两者都要",
};
