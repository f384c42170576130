/** The solution of matrix * x = right, by elimination with the largest pivot of each column. */
export function solve(matrix, right) {
  const rows = matrix.map((row, index) => [...row, right[index]]);
  const size = rows.length;
  for (let column = 0; column < size; column += 1) {
    bringUpLargest(rows, column);
    for (let row = column + 1; row < size; row += 1) {
      const factor = rows[row][column] / rows[column][column];
      for (let j = column; j <= size; j += 1) rows[row][j] -= factor * rows[column][j];
    }
  }
  return substitutedBack(rows);
}

function bringUpLargest(rows, column) {
  let best = column;
  for (let row = column + 1; row < rows.length; row += 1) {
    if (Math.abs(rows[row][column]) > Math.abs(rows[best][column])) best = row;
  }
  [rows[column], rows[best]] = [rows[best], rows[column]];
}

function substitutedBack(rows) {
  const size = rows.length;
  const solution = new Array(size).fill(0);
  for (let row = size - 1; row >= 0; row -= 1) {
    let rest = rows[row][size];
    for (let j = row + 1; j < size; j += 1) rest -= rows[row][j] * solution[j];
    solution[row] = rest / rows[row][row];
  }
  return solution;
}
