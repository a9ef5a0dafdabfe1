// What could break: two clients share a number, a forgotten client's number serves the next one, names grow without end.
// How we notice: random openings and closings against the rule that a number belongs to one name for ever.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ClientNumbers } from './client-numbers.js'

test('a number belongs to one client for ever, and names are bounded', () => {
  fc.assert(fc.property(fc.array(fc.record({ name: fc.nat(199).map(String), closes: fc.boolean() }), { maxLength: 400 }), (steps) => {
    const numbers = new ClientNumbers()
    const owner = new Map<number, string>()
    const open: string[] = []
    const numberOf = new Map<string, number>()
    for (const { name, closes } of steps) {
      const number = numbers.open(name)
      expect(number).toBeGreaterThan(0)
      expect(owner.get(number) ?? name).toBe(name)
      owner.set(number, name)
      // Known as long as a sequence of it is open.
      if (open.includes(name)) expect(number).toBe(numberOf.get(name))
      numberOf.set(name, number)
      open.push(name)
      if (closes) numbers.close(open.shift()!)
      expect(numbers.size).toBeLessThanOrEqual(64 + new Set(open).size)
    }
    for (const name of open) numbers.close(name)
    expect(numbers.size).toBeLessThanOrEqual(64)
  }), { numRuns: 60 })
})

test('a client that comes back has its number', () => {
  const numbers = new ClientNumbers()
  const first = numbers.open('ann')
  numbers.close('ann')
  expect(numbers.open('bob')).not.toBe(first)
  expect(numbers.open('ann')).toBe(first)
})
