import { defineConfig } from 'vitest/config'

// Tests run as compiled, from the very files that ship: workers and the addon are found as users' programs find them.
export default defineConfig({
  test: {
    include: ['dist/**/*.test.js'],
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    // What was measured on this machine must not decide a test, and tests must not write where users keep state.
    env: { HYPURA_STATE_DIR: 'off' },
  },
})
