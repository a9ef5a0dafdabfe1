/**
 * Runs parsed templates. Only the lexer and the parser of @huggingface/jinja are used: its own interpreter caps nothing,
 * compares as JavaScript does, and its values have no Python texts. Here every node, text, list and level is counted.
 *
 * A rendering has one Budget and one output; a failure ends it, so nothing is restored on the way out.
 */
import type { Call, Identifier, Member, Node, Slice } from './template-ast.js'
import type { Budget } from './template-budget.js'
import { TemplateFailure } from './template-failure.js'
import { findFilter, findTest } from './template-filters.js'
import { lineOfMark } from './template-lines.js'
import { callMethod, dictKey, hasMethod, integer } from './template-methods.js'
import { binary, negated, sliced } from './template-operators.js'
import { Scope } from './template-scope.js'
import { Callable, iterate, Namespace, toText, truthy, typeName, type Dict, type Value } from './template-values.js'

interface Arguments {
  readonly positional: Value[]
  readonly keywords: Map<string, Value>
}

/** How a block ended. */
type Flow = 'on' | 'break' | 'continue'

export class Interpreter {
  readonly #budget: Budget
  #output = ''
  #line: number | undefined

  constructor(budget: Budget) {
    this.#budget = budget
  }

  /** @throws TemplateFailure with the line of the statement that failed, where known */
  render(program: Node & { type: 'Program' }, globals: Scope): string {
    try {
      this.#block(program.body, globals)
      return this.#output
    } catch (error) {
      throw located(error, this.#line)
    }
  }

  #write(text: string): void {
    this.#budget.textOf(this.#output.length + text.length)
    this.#output += text
  }

  /** What `run` writes, instead of writing it. */
  #capture(run: () => void): string {
    const outer = this.#output
    this.#output = ''
    run()
    const inner = this.#output
    this.#output = outer
    return inner
  }

  #block(nodes: readonly Node[], scope: Scope): Flow {
    this.#budget.enter()
    for (const node of nodes) {
      const flow = this.#statement(node, scope)
      if (flow !== 'on') {
        this.#budget.leave()
        return flow
      }
    }
    this.#budget.leave()
    return 'on'
  }

  #statement(node: Node, scope: Scope): Flow {
    if (node.type === 'Comment') {
      this.#line = lineOfMark(node.value) ?? this.#line
      return 'on'
    }
    this.#budget.step()
    switch (node.type) {
      case 'If':
        return this.#block(truthy(this.#evaluate(node.test, scope)) ? node.body : node.alternate, scope)
      case 'For':
        return this.#loop(node, scope)
      case 'Break':
        return 'break'
      case 'Continue':
        return 'continue'
      case 'Set':
        this.#assign(node.assignee, node.value ? this.#evaluate(node.value, scope) : this.#capture(() => this.#block(node.body, new Scope(scope))), scope)
        return 'on'
      case 'Macro':
        scope.set(node.name.value, this.#macro(node.name.value, node.args, node.body, scope))
        return 'on'
      case 'CallStatement':
        this.#callBlock(node, scope)
        return 'on'
      case 'FilterStatement':
        this.#write(toText(this.#filtered(this.#capture(() => this.#block(node.body, new Scope(scope))), node.filter, scope), this.#budget))
        return 'on'
      case 'Program':
        return this.#block(node.body, scope)
      default:
        this.#write(toText(this.#evaluate(node, scope), this.#budget))
        return 'on'
    }
  }

  #loop(node: Node & { type: 'For' }, scope: Scope): Flow {
    const { iterable } = node
    const condition = iterable.type === 'SelectExpression' ? iterable.test : undefined
    let items = iterate(this.#evaluate(iterable.type === 'SelectExpression' ? iterable.lhs : iterable, scope))
    if (condition) {
      items = items.filter((item) => {
        const inner = new Scope(scope)
        this.#assign(node.loopvar, item, inner)
        return truthy(this.#evaluate(condition, inner))
      })
    } else {
      items = items.slice()
    }
    for (let i = 0; i < items.length; i++) {
      this.#budget.step()
      const inner = new Scope(scope)
      inner.set('loop', loopVariable(items, i))
      this.#assign(node.loopvar, items[i], inner)
      if (this.#block(node.body, inner) === 'break') break
    }
    if (items.length === 0) this.#block(node.defaultBlock, new Scope(scope))
    return 'on'
  }

  #assign(target: Node, value: Value, scope: Scope): void {
    if (target.type === 'Identifier') {
      scope.set(target.value, value)
    } else if (target.type === 'TupleLiteral') {
      const items = iterate(value)
      if (items.length !== target.value.length) {
        throw new TemplateFailure('value', `${items.length} items cannot be assigned to ${target.value.length} names`)
      }
      target.value.forEach((part, i) => this.#assign(part, items[i], scope))
    } else if (target.type === 'MemberExpression') {
      this.#assignMember(target, value, scope)
    } else {
      throw new TemplateFailure('syntax', `a ${target.type} cannot be assigned to`)
    }
  }

  #assignMember(target: Member, value: Value, scope: Scope): void {
    const object = this.#evaluate(target.object, scope)
    if (!(object instanceof Namespace)) {
      throw new TemplateFailure('value', `only attributes of a namespace can be set, this is ${typeName(object)}`)
    }
    object.entries.set(String(this.#propertyName(target, scope)), value)
    this.#budget.listOf(object.entries.size)
  }

  /** Names in a macro mean what they mean where it is defined. */
  #macro(name: string, parameters: readonly Node[], body: readonly Node[], scope: Scope): Callable {
    return new Callable(name, (positional, keywords) => this.#budget.macro(() => {
      const inner = new Scope(scope)
      const left = new Map(keywords)
      inner.set('varargs', positional.slice(parameters.length))
      inner.set('kwargs', left as Dict)
      if (keywords.get('caller') instanceof Callable) inner.set('caller', keywords.get('caller'))
      left.delete('caller')
      parameters.forEach((parameter, i) => this.#bind(parameter, positional[i], i < positional.length, left, inner))
      return this.#capture(() => this.#block(body, inner))
    }))
  }

  #bind(parameter: Node, value: Value, given: boolean, keywords: Map<string, Value>, scope: Scope): void {
    const name = parameter.type === 'KeywordArgumentExpression' ? parameter.key.value : (parameter as Identifier).value
    if (!given && keywords.has(name)) {
      value = keywords.get(name)
      given = true
    }
    keywords.delete(name)
    if (!given && parameter.type === 'KeywordArgumentExpression') value = this.#evaluate(parameter.value, scope)
    scope.set(name, value)
  }

  #callBlock(node: Node & { type: 'CallStatement' }, scope: Scope): void {
    const callee = this.#evaluate(node.call.callee, scope)
    const { positional, keywords } = this.#arguments(node.call.args, scope)
    keywords.set('caller', this.#macro('caller', node.callerArgs ?? [], node.body, scope))
    this.#write(toText(this.#call(callee, { positional, keywords }, node.call), this.#budget))
  }

  #evaluate(node: Node, scope: Scope): Value {
    this.#budget.step()
    this.#budget.enter()
    const value = this.#expression(node, scope)
    this.#budget.leave()
    if (typeof value === 'string') this.#budget.textOf(value.length)
    else if (Array.isArray(value) && value.length > this.#budget.limits.listItems) this.#budget.listOf(value.length)
    return value
  }

  #expression(node: Node, scope: Scope): Value {
    switch (node.type) {
      case 'Identifier':
        return scope.get(node.value)
      case 'StringLiteral':
      case 'IntegerLiteral':
      case 'FloatLiteral':
        return node.value
      case 'MemberExpression':
        return this.#member(this.#evaluate(node.object, scope), node, scope)
      case 'CallExpression':
        return this.#callExpression(node, scope)
      case 'FilterExpression':
        return this.#filtered(this.#evaluate(node.operand, scope), node.filter, scope)
      case 'TestExpression':
        return findTest(node.test.value)(this.#evaluate(node.operand, scope)) !== node.negate
      case 'BinaryExpression':
        return binary(node.operator.value, this.#evaluate(node.left, scope), () => this.#evaluate(node.right, scope), this.#budget)
      case 'UnaryExpression':
        return negated(node.operator.value, this.#evaluate(node.argument, scope))
      case 'Ternary':
        return this.#evaluate(truthy(this.#evaluate(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope)
      case 'SelectExpression':
        return truthy(this.#evaluate(node.test, scope)) ? this.#evaluate(node.lhs, scope) : undefined
      case 'ArrayLiteral':
      case 'TupleLiteral':
        return node.value.map((item) => this.#evaluate(item, scope))
      case 'ObjectLiteral':
        return new Map([...node.value].map(([key, value]) => [dictKey(this.#evaluate(key, scope)), this.#evaluate(value, scope)]))
      default:
        throw new TemplateFailure('missing-feature', `${node.type} as a value`)
    }
  }

  #filtered(value: Value, filter: Identifier | Call, scope: Scope): Value {
    if (filter.type === 'Identifier') return findFilter(filter.value)(value, [], new Map(), this.#budget)
    if (filter.callee.type !== 'Identifier') throw new TemplateFailure('missing-feature', 'a filter that is not a name')
    const { positional, keywords } = this.#arguments(filter.args, scope)
    return findFilter(filter.callee.value)(value, positional, keywords, this.#budget)
  }

  #callExpression(node: Call, scope: Scope): Value {
    const { callee } = node
    if (callee.type !== 'MemberExpression' || callee.computed) {
      const target = this.#evaluate(callee, scope)
      return this.#call(target, this.#arguments(node.args, scope), node)
    }
    // x.name(...): as in Python, a method goes before an entry of the same name.
    const object = this.#evaluate(callee.object, scope)
    const name = this.#propertyName(callee, scope)
    const given = this.#arguments(node.args, scope)
    const outcome = callMethod(object, String(name), given.positional, given.keywords, this.#budget)
    return outcome ? outcome.result : this.#call(this.#member(object, callee, scope), given, node)
  }

  #call(callee: Value, { positional, keywords }: Arguments, node: Call): Value {
    if (callee instanceof Callable) return callee.call(positional, keywords)
    throw new TemplateFailure('missing-feature', `${nameOf(node.callee)}() is not known: it is ${typeName(callee)}`)
  }

  #arguments(nodes: readonly Node[], scope: Scope): Arguments {
    const positional: Value[] = []
    const keywords = new Map<string, Value>()
    for (const node of nodes) {
      if (node.type === 'KeywordArgumentExpression') {
        keywords.set(node.key.value, this.#evaluate(node.value, scope))
      } else if (node.type === 'KeywordSpreadExpression') {
        const value = this.#evaluate(node.argument, scope)
        if (!(value instanceof Map)) throw new TemplateFailure('value', `** wants a dict, this is ${typeName(value)}`)
        for (const [key, item] of value) keywords.set(String(key), item)
      } else if (node.type === 'SpreadExpression') {
        for (const item of iterate(this.#evaluate(node.argument, scope))) positional.push(item)
        this.#budget.listOf(positional.length)
      } else {
        positional.push(this.#evaluate(node, scope))
      }
    }
    return { positional, keywords }
  }

  #member(object: Value, node: Member, scope: Scope): Value {
    if (node.computed && node.property.type === 'SliceExpression') return this.#slice(object, node.property, scope)
    const name = this.#propertyName(node, scope)
    if (object instanceof Map) return name === undefined ? undefined : (object.get(dictKey(name)) ?? entryOrMethod(object, name, node))
    if (object instanceof Namespace) return object.entries.get(String(name))
    if ((Array.isArray(object) || typeof object === 'string') && typeof name === 'number') {
      return Array.isArray(object) ? object.at(name) : sliced(object, name, name === -1 ? undefined : name + 1, undefined, this.#budget) || undefined
    }
    return undefined
  }

  #slice(object: Value, { start, stop, step }: Slice, scope: Scope): Value {
    const bound = (node: Node | undefined): number | undefined => {
      const value = node === undefined ? undefined : this.#evaluate(node, scope)
      return value === undefined || value === null ? undefined : integer(value)
    }
    return sliced(object, bound(start), bound(stop), bound(step), this.#budget)
  }

  #propertyName(node: Member, scope: Scope): Value {
    if (node.computed) return this.#evaluate(node.property, scope)
    return (node.property as { value: string | number }).value
  }
}

/** None as an entry is None; a method without a call is named as one, so that `x.items is defined` holds. */
function entryOrMethod(object: Dict, name: Value, node: Member): Value {
  if (object.has(dictKey(name))) return object.get(dictKey(name))
  if (node.computed || typeof name !== 'string' || !hasMethod(object, name)) return undefined
  return new Callable(name, () => {
    throw new TemplateFailure('missing-feature', `the method ${name} as a value`)
  })
}

function loopVariable(items: readonly Value[], i: number): Dict {
  return new Map<string, Value>([
    ['index', i + 1],
    ['index0', i],
    ['revindex', items.length - i],
    ['revindex0', items.length - i - 1],
    ['first', i === 0],
    ['last', i === items.length - 1],
    ['length', items.length],
    ['previtem', items[i - 1]],
    ['nextitem', items[i + 1]],
    ['cycle', new Callable('cycle', (choices) => choices[i % Math.max(1, choices.length)])],
  ])
}

function nameOf(node: Node): string {
  if (node.type === 'Identifier') return node.value
  if (node.type === 'MemberExpression' && !node.computed) return `${nameOf(node.object)}.${(node.property as Identifier).value}`
  return 'something'
}

/** Errors of JavaScript itself are spent budgets: the stack, or the greatest text. */
function located(error: unknown, line: number | undefined): unknown {
  if (error instanceof RangeError) {
    return /string length/i.test(error.message)
      ? new TemplateFailure('size', 'a text too long for this machine', line)
      : new TemplateFailure('depth', 'nested too deeply', line)
  }
  if (error instanceof TemplateFailure) error.line ??= line
  return error
}
