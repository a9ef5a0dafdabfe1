/** Numbers as people read them: the same rounding in every command. */

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** 1536 → "1.5 KiB"; whole numbers below 1 KiB. */
export function bytes(value: number): string {
  let unit = 0
  let scaled = value
  while (Math.abs(scaled) >= 1024 && unit < units.length - 1) {
    scaled /= 1024
    unit++
  }
  return `${unit === 0 ? scaled.toFixed(0) : scaled.toFixed(scaled >= 100 ? 0 : 1)} ${units[unit]}`
}

/** A size that `--memory` takes back: "3.5MiB", rounded up so that what is printed is enough. */
export function sizeArgument(value: number): string {
  const [unit, name] = value >= 2 ** 30 ? [2 ** 30, 'GiB'] as const : [2 ** 20, 'MiB'] as const
  return `${Math.ceil((value / unit) * 10) / 10}${name}`
}

/** 0.000213 → "0.21 ms"; 63 → "63 s"; 200 → "3 min 20 s". */
export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(2)} ms`
  if (ms < 1000) return `${ms.toFixed(0)} ms`
  if (ms < 100_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`
}

export function rate(perSecond: number): string {
  return perSecond >= 100 ? perSecond.toFixed(0) : perSecond >= 10 ? perSecond.toFixed(1) : perSecond.toFixed(2)
}

export function count(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} B`
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`
  return value.toLocaleString('en-US')
}

/** Rows as aligned columns: the first to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)))
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ').trimEnd()).join('\n')
}
