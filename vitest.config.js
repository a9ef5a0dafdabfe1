import { defineConfig } from 'vitest/config'

// Tests run as compiled, from the very files that ship: workers and the addon are found as users' programs find them.
export default defineConfig({
  test: {
    include: ['dist/**/*.test.js'],
    // What earlier runs learnt of this machine must not reach a test.
    env: { HYPURA_STATE_DIR: 'off' },
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
})
