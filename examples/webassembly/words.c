#include <ctype.h>
#include <stdio.h>

/* Counts the words and the lines of its standard input. */
int main(void) {
  long words = 0, lines = 0;
  int inside = 0;
  for (int c; (c = getchar()) != EOF;) {
    lines += c == '\n';
    words += !inside && !isspace(c);
    inside = !isspace(c);
  }
  printf("{\"words\":%ld,\"lines\":%ld}", words, lines);
  return 0;
}
