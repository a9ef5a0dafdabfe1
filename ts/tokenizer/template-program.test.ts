/**
 * What could break: an operator, filter, method or scope that means something else than in Python, so that a prompt
 * differs from the one a model was trained on; a budget that does not hold; a wrong line.
 * How we notice: expressions with the output of Jinja2 itself; templates that would run for ever end with their reason.
 */
import { describe, expect, test } from 'vitest'
import { templateLimits } from './limits.js'
import { TemplateFailure } from './template-failure.js'
import { compileTemplate } from './template-program.js'

const noon = new Date(2025, 0, 1, 12, 0, 0).getTime()

function render(source: string, variables: Record<string, unknown> = {}): string {
  return compileTemplate(source).render({ variables, nowMs: noon, units: 0 }).text
}

function failure(source: string): TemplateFailure {
  try {
    render(source)
  } catch (error) {
    if (error instanceof TemplateFailure) return error
    throw error
  }
  throw new Error('the template was rendered')
}

/** Provenance: Jinja2 3.1.6 with trim_blocks, lstrip_blocks, loopcontrols and json.dumps as tojson, as Transformers sets it up. */
const asJinja: readonly (readonly [string, string])[] = [
  ["{{ 1 == '1' }} {{ '' == 0 }} {{ true == 1 }} {{ [1, [2]] == [1, [2]] }} {{ none == undefined_name }}", "False False True True False"],
  ["{{ [1, 'a', none, true, {'k': \"it's\"}] }}", "[1, 'a', None, True, {'k': \"it's\"}]"],
  ["{{ {'a': [1, 2.5], 'b': none} | string }}", "{'a': [1, 2.5], 'b': None}"],
  ["{{ {'b': 1, 'a': {'c': []}} | tojson }} {{ {'b': 1, 'a': [1, {'x': none}]} | tojson(indent=2) }}", "{\"b\": 1, \"a\": {\"c\": []}} {\n  \"b\": 1,\n  \"a\": [\n    1,\n    {\n      \"x\": null\n    }\n  ]\n}"],
  ["{{ [1, {'é': '\"'}] | tojson(ensure_ascii=true, separators=(',', ':')) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", "[1,{\"\\u00e9\":\"\\\"\"}] {\"a\": 2, \"b\": 1}"],
  ["{% set ns = namespace(n=0) %}{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}{% set ns.n = ns.n + i %}{{ i }}{% endfor %} {{ ns.n }}", "02 2"],
  ["{% for k, v in {'b': 1, 'a': 2}.items() %}{{ loop.index }}{{ k }}{{ v }}{{ ',' if not loop.last }}{% endfor %}", "1b1,2a2"],
  ["{% for k, v in {3: 'c', 1: 'a'} | dictsort %}{{ k + 1 }}{{ v }}{% endfor %}", "2a4c"],
  ["{{ 'a,b,,c'.split(',') }} {{ '  a  b '.split() }} {{ 'a-b-c'.split('-', 1) }} {{ 'a-b-c'.rsplit('-', 1) }}", "['a', 'b', '', 'c'] ['a', 'b'] ['a', 'b-c'] ['a-b', 'c']"],
  ["{{ 'xxhixx'.strip('x') }}|{{ ' hi '.lstrip() }}|{{ 'hi\\n'.rstrip('\\n') }}|{{ 'abc'[::-1] }}|{{ 'abcdef'[1:-1:2] }}|{{ [1,2,3][-1] }}", "hi|hi |hi|cba|bd|3"],
  ["{{ 'Hello World'.title() }} {{ 'hELLO wORLD' | capitalize }} {{ 'a b' | upper }} {{ 'abcabc'.replace('b', 'x', 1) }} {{ 'aaa' | replace('a', 'bb') }}", "Hello World Hello world A B axcabc bbbbbb"],
  ["{{ '%s has %d of %.2f%%' % ('x', 3, 1.5) }} {{ '{} {1} {name}'.format if false else '{0}-{1}-{name}'.format('a', 1, name='n') }}", "x has 3 of 1.50% a-1-n"],
  ["{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 7 / 2 }} {{ 'ab' * 3 }} {{ [0] * 2 + [1] }}", "3 -4 2 1024 3.5 ababab [0, 0, 1]"],
  ["{{ [3, 1, 2] | sort }} {{ ['b', 'A', 'c'] | sort(reverse=true) }} {{ [1, 2, 1] | unique | list }} {{ [1, 5, 3] | max }} {{ [4, 2] | min }} {{ [1, 2] | sum }}", "[1, 2, 3] ['c', 'b', 'A'] [1, 2] 5 2 3"],
  ["{{ [{'n': 'a', 'v': 1}, {'n': 'b', 'v': 2}] | selectattr('v', 'gt', 1) | map(attribute='n') | join('+') }} {{ ['a', 'b'] | map('upper') | list }}", "b ['A', 'B']"],
  ["{{ missing is defined }} {{ none is none }} {{ 'x' is string }} {{ {} is mapping }} {{ [1] is iterable }} {{ 3 is odd }} {{ missing | default('d') }} {{ '' | default('e', true) }}", "False True True True True True d e"],
  ["{% macro box() %}[{{ caller('z') }}]{% endmacro %}{% call(x) box() %}in {{ x }}{% endcall %}", "[in z]"],
  ["{% set x %}block {{ 1 + 1 }}{% endset %}{{ x | length }} {% filter upper %}loud {{ x }}{% endfilter %}", "7 LOUD BLOCK 2"],
  ["{{ 'a\\nb\\n\\nc' | indent(2) }}|{{ 'a\\nb' | indent(2, true) }}", "a\n  b\n\n  c|  a\n  b"],
  ["{% set x = 1 %}{% for i in [1, 2] %}{% set x = i %}{% endfor %}{{ x }} {% if true %}{% set x = 9 %}{% endif %}{{ x }}", "1 9"],
  ["{{ 'b' in 'abc' }} {{ 1 in [1, 2] }} {{ 'k' in {'k': 0} }} {{ 3 not in [1] }} {{ not true and false }} {{ 1 < 2 and 2 < 3 }} {{ 'a' < 'b' }}", "True True True True False True True"],
  ["{{ {'a': 1}.get('b', 'no') }} {{ {'a': {'items': 3}}['a']['items'] }} {{ {'get': 1}.get('get') }}", "no 3 1"],
  ["{{ 'ab'.startswith(('x', 'a')) }} {{ 'abc'.find('c') }} {{ 'a'.isdigit() }} {{ 'ß'.upper() }} {{ 'x' ~ 1 ~ none ~ true }} {{ '3' | int + 1 }} {{ '2.5' | float }} {{ 'no' | int(7) }}", "True 2 False SS x1NoneTrue 4 2.5 7"],
  ["{%- for a in [1, 2, 3, 4] if a % 2 == 0 %} {{ loop.index }}:{{ a }}:{{ loop.previtem }}{% else %}none{% endfor %}", " 1:2: 2:4:2"],
  ["{{ \"日本語😀\"[1:] }} {{ \"日本語😀\" | length }} {{ \"😀a\"[0] }} {{ [1, 2, 3] | last }} {{ 'abc' | first }} {{ [1, 2] | reverse | list }} {{ -3 | abs }}", "本語😀 4 😀 3 a [2, 1] 3"],
]

describe('a template means what it means in Python', () => {
  test.each(asJinja)('%s', (source, expected) => {
    expect(render(source)).toBe(expected)
  })

  test('generation tags are invisible, also with whitespace control', () => {
    expect(render('a{% generation %}b{% endgeneration %}c')).toBe('abc')
    expect(render('a {%- generation -%} b {%- endgeneration -%} c')).toBe('abc')
  })

  test('strftime_now tells the time that was passed in', () => {
    expect(render("{{ strftime_now('%d %B %Y, %A %-d/%m/%y %H:%M:%S %I %p %j %% %Q') }}"))
      .toBe('01 January 2025, Wednesday 1/01/25 12:00:00 12 PM 001 % %Q')
  })

  test('names of prototypes are ordinary unknown names', () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      expect(render(`{{ x.${name} is defined }}{{ ''.${name} is defined }}{{ ${name} is defined }}`, { x: {} })).toBe('FalseFalseFalse')
    }
    expect(failure("{{ ''.constructor.constructor('return 1')() }}").reason).toBe('missing-feature')
  })
})

describe('failures', () => {
  test.each([
    ['a\n{{ 1 }}\n{{ raise_exception("no ' + 'way") }}', 'raise', 3],
    ['{% if x %}\n\n{{ "a" + 1 }}{% else %}{{ "a" + 1 }}{% endif %}', 'value', 3],
    ['\n{{ x | nofilter }}', 'missing-feature', 2],
    ['\n\n{{ x is notest }}', 'missing-feature', 3],
    ['{{ "}}" }}\n{# {{ #}\n{{ {"a": {"b": 1}}.a.b.c() }}', 'missing-feature', 3],
    ['{% macro m() %}\n{{ 1 + "x" }}{% endmacro %}\n{{ m() }}', 'value', 2],
    ['a\n{% nosuch %}', 'syntax', 2],
    ['a\n{% for x in y %}', 'syntax', 2],
    ['{{ "unfinished }}', 'syntax', undefined],
  ] as const)('%j fails with %s in line %s', (source, reason, line) => {
    const { reason: found, line: at } = failure(source)
    expect([found, at]).toEqual([reason, line])
  })

  const aMillion = 'a'.repeat(1000)
  test.each([
    ['range(10**9)', '{{ range(10**9) | length }}', 'size'],
    ['range in all', '{% for i in range(11) %}{% set x = range(10000) %}{% endfor %}', 'size'],
    ['four nested loops', `${'{% for i in range(1000) %}'.repeat(4)}x${'{% endfor %}'.repeat(4)}`, 'steps|size'],
    ['text doubled', '{% set ns = namespace(s="ab") %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}', 'size'],
    ['list doubled', '{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}', 'size'],
    ['each letter by 24', `{% set s = "${aMillion}" * 4000 %}{{ s | replace("a", "${'b'.repeat(24)}") }}`, 'size'],
    ['join of long texts', '{% set s = "a" * 4000000 %}{{ ([s] * 60000) | join(s) }}', 'size'],
    ['json of long texts', '{% set s = "a" * 4000000 %}{{ ([s] * 60000) | tojson }}', 'size'],
    ['wide indent', '{{ "a\\nb" | indent(1000000000) }}', 'size'],
    ['split into letters', '{% set s = "a" * 4000000 %}{{ s.split("a") | length }}', 'size'],
    ['list of letters', '{{ ("a" * 4000000) | list | length }}', 'size'],
    ['output', '{% for i in range(10000) %}{{ "a" * 1000 }}{% endfor %}', 'size'],
    ['tree as json', '{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}', 'steps'],
    ['tree printed', '{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}', 'steps'],
    ['trees compared', '{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}', 'steps'],
    ['a list in itself', '{% set l = [] %}{% set _ = l.append(l) %}{{ l }}', 'depth'],
    ['endless macro', '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', 'depth'],
    ['100,000 parentheses', `{{ ${'('.repeat(100_000)}1${')'.repeat(100_000)} }}`, 'depth'],
    ['50,000 brackets', `{{ ${'['.repeat(50_000)}${']'.repeat(50_000)} }}`, 'depth'],
    ['3,000 else-ifs', `{% if 0 %}${'{% elif 0 %}'.repeat(3_000)}{% endif %}`, 'depth'],
    ['5,000 additions', `{{ ${'1+'.repeat(5_000)}1 }}`, 'depth'],
    ['appending for ever', '{% set l = [] %}{% for i in range(10000) %}{% for j in range(9) %}{% set _ = l.append(1) %}{% endfor %}{% endfor %}', 'size|steps'],
    ['long source', 'x'.repeat(templateLimits.sourceUnits + 1), 'size'],
  ])('%s is stopped', (_name, source, reasons) => {
    expect(reasons.split('|')).toContain(failure(source).reason)
  })

  test('what is passed in may be as long as it is, and nested only so far', () => {
    const long = 'x'.repeat(6 << 20)
    const { text } = compileTemplate('{{ m }}').render({ variables: { m: long }, nowMs: 0, units: long.length })
    expect(text.length).toBe(long.length)
    let deep: unknown = 1
    for (let i = 0; i < 1000; i++) deep = [deep]
    expect(() => render('{{ x }}', { x: deep })).toThrow(TemplateFailure)
  })
})
