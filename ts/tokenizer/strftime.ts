/** strftime of Python, for dates in prompts: English names whatever the locale, local time. */

const months = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']

/** Directives that are not known stay as they are. `%-d` drops the zero in front. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([a-zA-Z%])/g, (whole, bare: string, directive: string) => {
    const text = directiveText(date, directive)
    if (text === undefined) return whole
    return bare === '-' ? text.replace(/^0+(?=\d)/, '') : text
  })
}

function directiveText(date: Date, directive: string): string | undefined {
  const two = (value: number): string => String(value).padStart(2, '0')
  switch (directive) {
    case 'Y': return String(date.getFullYear())
    case 'y': return two(date.getFullYear() % 100)
    case 'm': return two(date.getMonth() + 1)
    case 'B': return months[date.getMonth()]
    case 'b': case 'h': return months[date.getMonth()]!.slice(0, 3)
    case 'd': return two(date.getDate())
    case 'e': return String(date.getDate()).padStart(2, ' ')
    case 'A': return days[date.getDay()]
    case 'a': return days[date.getDay()]!.slice(0, 3)
    case 'w': return String(date.getDay())
    case 'u': return String(date.getDay() || 7)
    case 'j': return String(dayOfYear(date)).padStart(3, '0')
    case 'H': return two(date.getHours())
    case 'I': return two(date.getHours() % 12 || 12)
    case 'p': return date.getHours() < 12 ? 'AM' : 'PM'
    case 'M': return two(date.getMinutes())
    case 'S': return two(date.getSeconds())
    case 'F': return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
    case 'T': return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
    case 's': return String(Math.floor(date.getTime() / 1000))
    case '%': return '%'
    default: return undefined
  }
}

function dayOfYear(date: Date): number {
  const start = Date.UTC(date.getFullYear(), 0, 1)
  return Math.round((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - start) / 86_400_000) + 1
}
