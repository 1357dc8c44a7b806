import { configDefaults, defineConfig } from 'vitest/config';
import config from './vitest.config.ts';

/** The tests that take minutes: guests that boot. */
export default defineConfig({
  ...config,
  test: { ...config.test, include: ['test/slow/**/*.test.ts'], exclude: configDefaults.exclude },
});
