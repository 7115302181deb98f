--- Explain, fix, write tests, document, refactor, and commit messages: asks the server, which does
--- the rest. Its edits come by `workspace/applyEdit`.

local client = require('ingle.client')
local notify = require('ingle.notify')
local positions = require('ingle.positions')
local tasks = require('ingle.tasks')

local M = {}

--- The place that an action is for; nil, and a message, where there can be none.
---@param given table of the user command
---@param changes boolean whether the buffer will be changed
local function target(given, changes)
  local buffer = vim.api.nvim_get_current_buf()
  local objection = client.attach(buffer)
  if not objection and changes and (not vim.bo[buffer].modifiable or vim.bo[buffer].readonly) then
    objection = 'this buffer is read-only'
  end
  if objection then
    return notify.warn(objection)
  end
  if given.range > 0 then
    return { buffer = buffer, span = positions.of_command(buffer, given.line1, given.line2) }
  end
  -- Empty: the server takes the function, class or paragraph around it.
  return { buffer = buffer, span = positions.at_cursor(0) }
end

local function located(place, argument)
  argument.uri = vim.uri_from_bufnr(place.buffer)
  argument.range = positions.range(place.buffer, place.span, client.encoding())
  return argument
end

---@param given table
function M.explain(given)
  local place = target(given, false)
  if place then
    -- The explanation itself comes with `ingle/showMarkdown`.
    tasks.run('explaining', 'ingle.explain', function()
      return located(place, {})
    end, function()
      notify.progress('explained')
    end, place.buffer)
  end
end

--- Ask for an edit.
local function edit(place, what, argument)
  tasks.run(what, 'ingle.edit', function()
    local full = located(place, argument)
    full.version = client.version(place.buffer)
    if full.diagnostics then
      full.diagnostics = full.diagnostics()
    end
    return full
  end, function(result)
    if type(result) == 'table' and not result.applied then
      notify.warn(result.message ~= '' and result.message or 'nothing was changed')
    else
      notify.progress('done: `u` takes it back')
    end
  end, place.buffer)
end

---@param given table
function M.tests(given)
  local place = target(given, true)
  if place then
    edit(place, 'writing tests', { action = 'tests' })
  end
end

---@param given table
function M.document(given)
  local place = target(given, true)
  if place then
    edit(place, 'documenting', { action = 'document' })
  end
end

---@param given table
---@param instruction string asked for if empty
function M.refactor(given, instruction)
  local place = target(given, true)
  if not place then
    return
  end
  local function begin(text)
    if text and vim.trim(text) ~= '' then
      edit(place, 'refactoring', { action = 'refactor', instruction = vim.trim(text) })
    end
  end
  if instruction ~= '' then
    begin(instruction)
  else
    vim.ui.input({ prompt = 'Refactor: ' }, begin)
  end
end

--- A diagnostic of Neovim as LSP has it.
local function as_lsp(buffer, diagnostic)
  local last = vim.api.nvim_buf_line_count(buffer) - 1
  local row = math.min(diagnostic.lnum, last)
  local end_row = math.min(diagnostic.end_lnum or row, last)
  local span = { row, diagnostic.col, end_row, diagnostic.end_col or diagnostic.col }
  return {
    range = positions.range(buffer, span, client.encoding()),
    message = diagnostic.message,
    severity = diagnostic.severity,
    source = diagnostic.source,
    code = diagnostic.code,
  }
end

---@param given table
function M.fix(given)
  local place = target(given, true)
  if not place then
    return
  end
  local first, last = place.span[1], place.span[3]
  local found = vim.tbl_filter(function(diagnostic)
    return diagnostic.lnum <= last and (diagnostic.end_lnum or diagnostic.lnum) >= first
  end, vim.diagnostic.get(place.buffer))
  if #found == 0 then
    return notify.info('there is no diagnostic here')
  end
  edit(place, 'fixing', {
    action = 'fix',
    diagnostics = function()
      return vim.tbl_map(function(diagnostic)
        return as_lsp(place.buffer, diagnostic)
      end, found)
    end,
  })
end

--- Write a commit message into the buffer of one, else into a window beside.
function M.commit()
  local buffer = vim.api.nvim_get_current_buf()
  local name = vim.api.nvim_buf_get_name(buffer)
  -- The file of a message is in `.git`; git starts its editor in the repository.
  local is_file = vim.bo[buffer].buftype == '' and name ~= '' and not name:find('/%.git/')
  local uri = vim.uri_from_fname(is_file and name or vim.fn.getcwd())
  local row = vim.api.nvim_win_get_cursor(0)[1] - 1
  tasks.run('writing a commit message', 'ingle.commitMessage', { uri = uri }, function(result)
    if vim.bo[buffer].filetype ~= 'gitcommit' or not vim.bo[buffer].modifiable then
      return require('ingle.markdown').show('Commit message', result.message)
    end
    local lines = vim.split(vim.trim(result.message), '\n', { plain = true })
    local here = vim.api.nvim_buf_get_lines(buffer, row, row + 1, false)[1]
    vim.api.nvim_buf_set_lines(buffer, row, here == '' and row + 1 or row, false, lines)
    notify.progress('done: `u` takes it back')
  end)
end

return M
