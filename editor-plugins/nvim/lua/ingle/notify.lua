--- Messages to the user: one line each, by `vim.notify`.

local M = {}

--- The last ones, for `:checkhealth ingle`.
---@type string[]
M.recent = {}

local KEPT = 10

--- Whether messages go to the command line. A longer one than that would stop the user's typing
--- with a prompt to press ENTER.
local function goes_to_command_line()
  return debug.getinfo(vim.notify, 'S').source:find('vim/_', 1, true) ~= nil
end

local function shortened(text)
  local room = vim.o.columns * (math.max(vim.o.cmdheight, 1) - 1) + vim.v.echospace
  if vim.fn.strdisplaywidth(text) <= room then
    return text
  end
  return vim.fn.strcharpart(text, 0, room - 1) .. '…'
end

--- Take off the screen what somebody chose from: below it, a message would wait for ENTER.
local function clear_choices()
  vim.cmd('redraw')
end

local function tell(text, level)
  text = vim.trim((text:gsub('%s+', ' ')))
  if not vim.startswith(text, 'ingle: ') then
    text = 'ingle: ' .. text
  end
  table.insert(M.recent, text)
  if #M.recent > KEPT then
    table.remove(M.recent, 1)
  end
  clear_choices()
  vim.notify(goes_to_command_line() and shortened(text) or text, level, { title = 'ingle' })
end

---@param text string
function M.info(text)
  tell(text, vim.log.levels.INFO)
end

---@param text string
function M.warn(text)
  tell(text, vim.log.levels.WARN)
end

---@param text string
function M.error(text)
  tell(text, vim.log.levels.ERROR)
end

--- Say what is being done, without a place in the history of messages.
---@param text string
function M.progress(text)
  clear_choices()
  vim.api.nvim_echo({ { shortened('ingle: ' .. text) } }, false, {})
end

--- What to tell a user of a request's error.
---@param err table|string
---@return string
function M.error_text(err)
  local text = type(err) == 'table' and err.message or err
  return type(text) == 'string' and text:match('[^\n]+') or 'the request failed'
end

--- Tell of a request's error, unless that was done already.
---@param err table
function M.failure(err)
  if not err.is_told then
    M.warn(M.error_text(err))
  end
end

return M
