import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig } from 'vitest/config';
import { ClosingLineReporter } from './tools/closing-line-reporter.ts';

const src = fileURLToPath(new URL('src', import.meta.url));

export default defineConfig({
  resolve: {
    // Examples import the package by its name; under test that is the sources, not the last build.
    alias: [
      { find: /^viommu$/, replacement: `${src}/index.ts` },
      { find: /^viommu\/(.*)$/, replacement: `${src}/$1/index.ts` },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    // Minutes, and a guest to boot: npm run test:slow.
    exclude: [...configDefaults.exclude, 'test/slow/**'],
    setupFiles: ['test/setup.ts'],
    reporters: ['default', new ClosingLineReporter()],
    maxWorkers: '100%',
    testTimeout: 60_000,
    hookTimeout: 60_000,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      // The command is tested as its users run it, as a process of its own, which is not measured here.
      exclude: ['src/cli/**'],
      reporter: ['text', 'html'],
      reportsDirectory: 'coverage',
      thresholds: { statements: 90, branches: 80, functions: 90, lines: 90 },
    },
  },
});
